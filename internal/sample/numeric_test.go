package sample

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) {
	for x := float32(0); x >= -87; x -= 0.00371 {
		want := math.Exp(float64(x))
		if got := float64(exp(x)); math.Abs(got-want) > 0x1p-23*want {
			t.Fatalf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	if exp(0) != 1 {
		t.Errorf("exp(0) = %g, want exactly 1", exp(0))
	}
	for _, x := range []float32{-88, -math.MaxFloat32, -inf, float32(math.NaN())} {
		if got := exp(x); got != 0 {
			t.Errorf("exp(%g) = %g, want 0", x, got)
		}
	}
}

// TestSplitMix: the first numbers of splitmix64.c (Vigna) for the state 1234567.
func TestSplitMix(t *testing.T) {
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := splitMix(1234567, uint64(i)); got != want {
			t.Errorf("element %d is %d, want %d", i, got, want)
		}
	}
}

// TestUniform: draws fill [0, 1) evenly along the positions of a seed and along the seeds of a position, and those that stand
// next to each other, or belong to one position, do not go together.
func TestUniform(t *testing.T) {
	const n = 1 << 14
	for _, tt := range []struct {
		name string
		pair func(i int) (x, y float64)
	}{
		{"next position", func(i int) (float64, float64) { return uniform(7, i, drawToken), uniform(7, i+1, drawToken) }},
		{"next seed", func(i int) (float64, float64) {
			return uniform(int64(i), 5, drawToken), uniform(int64(i+1), 5, drawToken)
		}},
		{"xtc", func(i int) (float64, float64) { return uniform(7, i, drawToken), uniform(7, i, drawXTC) }},
	} {
		const side = 8
		var count [side * side]int
		for i := range n {
			x, y := tt.pair(i)
			if x < 0 || x >= 1 {
				t.Fatalf("%s: %g is not in [0, 1)", tt.name, x)
			}
			count[int(x*side)*side+int(y*side)]++
		}
		chi2, want := 0.0, float64(n)/(side*side)
		for _, c := range count {
			chi2 += (float64(c) - want) * (float64(c) - want) / want
		}
		if chi2 > 103.4 { // the 99.9 % point at 63 degrees of freedom
			t.Errorf("%s: chi-square %.1f", tt.name, chi2)
		}
	}
}
