package sparse

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x448/float16"
)

// The counts are D - floor(s·D); the sizes are the formula of the package comment, worked out by hand.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		codec                string
		headDim, keep, bytes int
	}{
		{"f16", 64, 64, 128}, {"f16", 128, 128, 256}, {"i16", 64, 64, 130}, {"i8", 128, 128, 130},
		{"sparse:0.5:f16", 64, 32, 8 + 64}, {"sparse:0.7:f16", 64, 20, 8 + 40}, {"sparse:0.7:f16", 128, 39, 16 + 78},
		{"sparse:0.5:i16", 64, 32, 8 + 64 + 2}, {"sparse:0.5:i8", 64, 32, 8 + 32 + 2}, {"sparse:0.7:i8", 128, 39, 16 + 39 + 2},
		{"sparse:0.7:i4", 64, 20, 8 + 10 + 2}, {"sparse:0.7:i4", 128, 39, 16 + 20 + 2}, {"sparse:0:f16", 256, 256, 32 + 512},
		{"sparse:0.99:i8", 64, 1, 8 + 1 + 2},
	} {
		c, err := Parse(tt.codec, I8)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Keep(tt.headDim); got != tt.keep {
			t.Errorf("%v: keep %d of %d, want %d", c, got, tt.headDim, tt.keep)
		}
		if got := c.RowBytes(tt.headDim); got != tt.bytes {
			t.Errorf("%v: %d bytes a row of %d, want %d", c, got, tt.headDim, tt.bytes)
		}
		if c.String() != tt.codec {
			t.Errorf("codec %q prints as %q", tt.codec, c)
		}
		r := NewRows(c, tt.headDim, 3)
		if n := 8*len(r.Bitmaps) + len(r.Values) + 2*len(r.Scales); n != 3*tt.bytes {
			t.Errorf("%v: three rows take %d bytes, want %d", c, n, 3*tt.bytes)
		}
	}
}

// Keep must not lose a channel to a product that binary fractions put just below a whole number.
func TestKeepOfEveryPercent(t *testing.T) {
	for _, D := range []int{64, 100, 128, 256} {
		for percent := range 100 {
			if got, want := Keep(D, float64(percent)/100), D-percent*D/100; got != want {
				t.Errorf("Keep(%d, %d %%) = %d, want %d", D, percent, got, want)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{"", "f32", "sparse", "sparse:", "sparse:1", "sparse:-0.1", "sparse:NaN", "sparse:0.5:", "sparse:0.5:i2", "sparse:0.5:i8:x", "Sparse:0.5"} {
		if c, err := Parse(s, I8); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, c)
		}
	}
	if c, err := Parse("sparse:.25", I4); err != nil || c != Sparse(0.25, I4) {
		t.Errorf("Parse with a default value type: %v, %v", c, err)
	}
}

func row(r *rand.Rand, D int) []uint16 {
	x := make([]uint16, D)
	for i := range x {
		x[i] = float16.Fromfloat32(float32(r.NormFloat64())).Bits()
		if r.IntN(3) == 0 { // ties, of both signs
			x[i] = uint16(0x3c00 + r.IntN(3) | r.IntN(2)<<15)
		}
	}
	return x
}

func TestSelect(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		D := 64 * (1 + r.IntN(4))
		x, keep := row(r, D), 1+r.IntN(D)
		bitmap := make([]uint64, D/64)
		Select(bitmap, x, keep)
		kept := func(c int) bool { return bitmap[c/64]>>(c%64)&1 == 1 }
		n := 0
		for c := range x {
			if !kept(c) {
				continue
			}
			n++
			for d := range x {
				if !kept(d) && (x[d]&0x7fff > x[c]&0x7fff || x[d]&0x7fff == x[c]&0x7fff && d < c) {
					t.Fatalf("channel %d (%#x) was kept before %d (%#x)", c, x[c], d, x[d])
				}
			}
		}
		if n != keep {
			t.Fatalf("%d channels kept, want %d", n, keep)
		}
	}
}

// Expand(Compress(x)) is x where it was kept, up to the value type's rounding, and 0 elsewhere.
func TestExpandCompress(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, codec := range []Codec{Dense, {Values: I16}, {Values: I8}, {Values: I4}, Sparse(0.5, F16), Sparse(0.7, I16), Sparse(0.3, I8), Sparse(0.7, I4), Sparse(0, F16)} {
		for _, D := range []int{64, 128, 192, 256} {
			rows := NewRows(codec, D, 5)
			xs := make([][]uint16, 5)
			for i := range xs {
				xs[i] = row(r, D)
				rows.Compress(i, xs[i])
			}
			for i, x := range xs {
				want := make([]uint64, D/64)
				Select(want, x, codec.Keep(D))
				if codec.Pruned && !slices.Equal(rows.Bitmap(i), want) {
					t.Fatalf("%v D%d: bitmap %x, want %x", codec, D, rows.Bitmap(i), want)
				}
				got := make([]float32, D)
				rows.Expand(got, i)
				top := float32(0)
				for _, h := range x {
					top = max(top, float32(math.Abs(float64(float16.Frombits(h).Float32()))))
				}
				step := map[Values]float32{F16: 0, I16: top / 32767, I8: top / 127, I4: top / 7}[codec.Values]
				for c, h := range x {
					v := float16.Frombits(h).Float32()
					if want[c/64]>>(c%64)&1 == 0 {
						v = 0
					}
					// half a step, and the scale's own rounding to 11 bits
					if d := math.Abs(float64(got[c] - v)); d > float64(step)*0.5+float64(top)/2048*min(1, float64(step)*1e9) {
						t.Fatalf("%v D%d channel %d: %g, want %g (step %g)", codec, D, c, got[c], v, step)
					}
				}
			}
		}
	}
}

// A row of zeros, of numbers whose scale vanishes in fp16, and one whose maximum must come out exactly.
func TestCompressEdges(t *testing.T) {
	for _, v := range []Values{F16, I16, I8, I4} {
		for _, first := range []float32{0, 6e-8, -1.5, 65504} {
			x := make([]uint16, 64)
			x[5] = float16.Fromfloat32(first).Bits()
			rows := NewRows(Sparse(0.5, v), 64, 1)
			rows.Compress(0, x)
			got := make([]float32, 64)
			rows.Expand(got, 0)
			for c, y := range got {
				want := float64(0)
				if c == 5 {
					want = float64(first)
				}
				if math.IsNaN(float64(y)) || math.Abs(float64(y)-want) > math.Abs(float64(first))/1024+1e-7 {
					t.Errorf("%v, %g at channel 5: channel %d reads %g", v, first, c, y)
				}
			}
		}
	}
}

// Attention over rows equals attention over the expanded matrix, by construction of the reference; this holds its arithmetic to a worked example.
func TestAttend(t *testing.T) {
	k := [][]float32{{1, 0}, {0, 1}}
	v := [][]float32{{2, 4}, {6, 8}}
	out := make([]float32, 2)
	read := func(m [][]float32) func([]float32, int) { return func(dst []float32, i int) { copy(dst, m[i]) } }
	Attend(out, []float32{float32(math.Log(3)), 0}, 2, 1, read(k), read(v)) // weights 3/4 and 1/4
	for c, want := range []float64{3, 5} {
		if math.Abs(float64(out[c])-want) > 1e-6 {
			t.Errorf("channel %d: %g, want %g", c, out[c], want)
		}
	}
}
