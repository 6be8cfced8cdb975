package sample

import (
	"math/rand/v2"
	"testing"
)

func TestCommonSuffixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var d dryState
	for range 500 {
		h := make([]int32, rng.IntN(60))
		for i := range h {
			h[i] = rng.Int32N(3)
		}
		for k, got := range d.commonSuffixes(h) {
			n := len(h)
			want := int32(0)
			for k > 0 && k+int(want) < n && h[n-1-int(want)] == h[n-1-k-int(want)] {
				want++
			}
			if got != want {
				t.Fatalf("%v: %d tokens in common with the text without its last %d, want %d", h, got, k, want)
			}
		}
	}
}

// TestDryPenalisesAll: even where no token is without a penalty, one is chosen.
func TestDryPenalisesAll(t *testing.T) {
	p := Default()
	p.DryMultiplier, p.DryBase = 1, 1000
	s := newSampler(t, p, 1)
	s.Accept(make([]int32, 60)...)
	sampleOne(t, s, []float32{1})
}

// TestDryExample is the picture at dryPenalty, with a penalty of 2^n.
func TestDryExample(t *testing.T) {
	const a, b, c, y = 0, 1, 2, 3
	p := Default()
	p.DryMultiplier, p.DryBase, p.DryAllowedLength = 2, 2, 1
	p.Samplers = []string{"dry"}
	s := newSampler(t, p, 4)
	s.Accept(a, b, c, c, b, c, y, a, b, c)
	if err := s.load(make([]float32, 4)); err != nil {
		t.Fatal(err)
	}
	s.run()
	for _, x := range s.c.list {
		if want := [4]float32{a: 0, b: -2, c: -8, y: -4}[x.id]; x.logit != want {
			t.Errorf("token %d: logit %g, want %g", x.id, x.logit, want)
		}
	}
}
