package sample

import (
	"math"
	"slices"
)

// dryState is what dry keeps between calls.
type dryState struct {
	breakers map[int32][][]int32 // a breaker's first token to the rests
	repeats  map[int32]int32     // scratch: a token to the longest repeat that it would continue
	suffixes []int32             // scratch of commonSuffixes
}

func dryOn(p *Params) bool { return p.DryMultiplier > 0 && p.DryLastN != 0 }

func (d *dryState) init(p *Params) {
	d.repeats = map[int32]int32{}
	d.breakers = map[int32][][]int32{}
	for _, b := range p.DryBreakers {
		d.breakers[b[0]] = append(d.breakers[b[0]], b[1:])
	}
}

// maxDryPenalty rules a token out as good as -Inf does, but leaves a choice where every token has it.
const maxDryPenalty = 1e30

// dryPenalty lowers the logits of the tokens that would continue a repeat (oobabooga/text-generation-webui#5677). Where the last
// n tokens stood before within the last DryLastN, the token that followed them there loses
// DryMultiplier · DryBase^(n - DryAllowedLength), for the largest such n, if that is at least DryAllowedLength. No repeat reaches
// back over a breaker, and a token that is a breaker by itself loses nothing.
//
//	a b c c b c y a b c      n = 3 for c (a b c c), 1 for b (c b), 2 for y (b c y)
func (s *Sampler) dryPenalty() {
	d, h := &s.dry, window(s.history, s.p.DryLastN)
	limit, allowed := d.sinceBreaker(h), s.p.DryAllowedLength
	clear(d.repeats)
	for k, n := range d.commonSuffixes(h) {
		if n := min(int(n), limit); k > 0 && n >= allowed {
			next := h[len(h)-k]
			d.repeats[next] = max(d.repeats[next], int32(n))
		}
	}
	for id := range d.repeats {
		if slices.ContainsFunc(d.breakers[id], func(rest []int32) bool { return len(rest) == 0 }) {
			delete(d.repeats, id)
		}
	}
	adjust(&s.c, d.repeats, func(l float32, n int32) float32 {
		penalty := float64(s.p.DryMultiplier) * math.Pow(float64(s.p.DryBase), float64(int(n)-allowed))
		return l - float32(min(penalty, maxDryPenalty))
	})
}

// sinceBreaker returns how many tokens of h follow the last breaker in it: all, if there is none.
func (d *dryState) sinceBreaker(h []int32) int {
	for i := len(h) - 1; i >= 0; i-- {
		longest := -1
		for _, rest := range d.breakers[h[i]] {
			if after := h[i+1:]; len(rest) > longest && len(rest) <= len(after) && slices.Equal(rest, after[:len(rest)]) {
				longest = len(rest)
			}
		}
		if longest >= 0 {
			return len(h) - i - 1 - longest
		}
	}
	return len(h)
}

// commonSuffixes returns for each k how many tokens h and h without its last k end with in common; 0 for k = 0. This is the
// Z-function of h read backwards, in linear time (Gusfield, Algorithms on Strings, 1.4). The result holds until the next call.
func (d *dryState) commonSuffixes(h []int32) []int32 {
	n := len(h)
	d.suffixes = slices.Grow(d.suffixes[:0], n)[:n]
	z := d.suffixes
	back := func(i int) int32 { return h[n-1-i] }
	left, right := 0, 0 // the match that reaches furthest: back [left, right) equals back [0, right-left)
	for k := range z {
		m := 0
		if k == 0 {
			z[k] = 0
			continue
		}
		if k < right {
			m = min(right-k, int(z[k-left]))
		}
		for k+m < n && back(m) == back(k+m) {
			m++
		}
		z[k] = int32(m)
		if k+m > right {
			left, right = k, k+m
		}
	}
	return z
}
