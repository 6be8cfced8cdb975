package eval

import (
	"math"
	"slices"
)

// Divergence compares a cache with the dense one over many positions: the KL divergence of the dense distribution from the other, in nats, and what
// becomes of the most likely tokens and of the text's own.
type Divergence struct {
	Mean, StdErr, Median, P99, Max float64
	Top1, Top5                     float64 // share of positions whose most likely token is the same, or among the other's five
	DPMean, DPRMS                  float64 // change of the probability of the text's token, as a fraction
	Buckets                        []Bucket

	kl, dp     []float64
	pos        []int
	top1, top5 int
}

// Bucket is the part of the positions [From, To) of their windows.
type Bucket struct {
	From, To int
	N        int
	Mean     float64
}

// add takes one position of a window: both rows of logits and the token that follows in the text, below 0 if none does.
func (d *Divergence) add(pos int, dense, other []float32, token int32) error {
	ld, lo := logSum(dense), logSum(other)
	if math.IsNaN(ld-lo) || math.IsInf(ld-lo, 0) {
		return errNotFinite
	}
	kl := 0.0
	for i, x := range dense {
		lp := float64(x) - ld
		if p := math.Exp(lp); p > 0 {
			kl += p * (lp - (float64(other[i]) - lo))
		}
	}
	d.kl = append(d.kl, max(0, kl))
	d.pos = append(d.pos, pos)
	best := argMax(dense)
	better := 0
	for _, x := range other {
		if x > other[best] {
			better++
		}
	}
	if better == 0 {
		d.top1++
	}
	if better < 5 {
		d.top5++
	}
	if token >= 0 {
		d.dp = append(d.dp, math.Exp(float64(other[token])-lo)-math.Exp(float64(dense[token])-ld))
	}
	return nil
}

func argMax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// finish fills the figures in.
func (d *Divergence) finish() {
	n := len(d.kl)
	if n == 0 {
		return
	}
	d.Mean, d.StdErr = meanError(d.kl)
	sorted := slices.Clone(d.kl)
	slices.Sort(sorted)
	d.Median, d.P99, d.Max = quantile(sorted, 0.5), quantile(sorted, 0.99), sorted[n-1]
	d.Top1, d.Top5 = float64(d.top1)/float64(n), float64(d.top5)/float64(n)
	square := 0.0
	for _, x := range d.dp {
		square += x * x
	}
	if len(d.dp) > 0 {
		d.DPMean, _ = meanError(d.dp)
		d.DPRMS = math.Sqrt(square / float64(len(d.dp)))
	}
	d.bucket(4)
}

// bucket cuts the range of positions into n parts.
func (d *Divergence) bucket(n int) {
	from, to := slices.Min(d.pos), slices.Max(d.pos)+1
	for i := range n {
		b := Bucket{From: from + (to-from)*i/n, To: from + (to-from)*(i+1)/n}
		for j, p := range d.pos {
			if p >= b.From && p < b.To {
				b.N++
				b.Mean += d.kl[j]
			}
		}
		if b.N > 0 {
			b.Mean /= float64(b.N)
			d.Buckets = append(d.Buckets, b)
		}
	}
}

// quantile of sorted numbers, between its two neighbours.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
