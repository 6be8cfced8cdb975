package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/x448/float16"
)

// Every fp16 number, against x448/float16.
func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		got, want := halfToFloat(uint16(h)), float16.Frombits(uint16(h)).Float32()
		if got != want && !(math.IsNaN(float64(got)) && math.IsNaN(float64(want))) {
			t.Fatalf("%#x: %g, want %g", h, got, want)
		}
	}
}

// Every fp16 number, both its neighbours half way to the next, and random bits.
func TestFloatToHalf(t *testing.T) {
	check := func(f float32) {
		if got, want := floatToHalf(f), float16.Fromfloat32(f).Bits(); got != want && f == f {
			t.Fatalf("%g (%#x): %#x, want %#x", f, math.Float32bits(f), got, want)
		}
	}
	for h := range 1 << 16 {
		f := halfToFloat(uint16(h))
		b := math.Float32bits(f)
		for _, d := range []uint32{0, 1, ^uint32(0), 0xfff, 0x1000, 0x1001} {
			check(math.Float32frombits(b + d))
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 1 << 20 {
		check(math.Float32frombits(r.Uint32()))
	}
	if nan := floatToHalf(float32(math.NaN())); nan&0x7c00 != 0x7c00 || nan&0x3ff == 0 {
		t.Fatalf("NaN became %#x", nan)
	}
}
