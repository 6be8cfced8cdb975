package sample

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A candidate is a token that may still be chosen. weight is its probability but for a common factor, after softmax.
type candidate struct {
	id            int32
	logit, weight float32
}

// compare orders candidates: larger logits first, of equal ones the lower token.
func compare(a, b candidate) int {
	switch {
	case a.logit > b.logit:
		return -1
	case a.logit < b.logit:
		return 1
	}
	return cmp.Compare(a.id, b.id)
}

// better is compare(a, b) < 0, in the form that a loop over a vocabulary needs.
func better(a, b *candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

// candidates are the tokens left of a row.
type candidates struct {
	list   []candidate
	sorted int         // list[:sorted] are the best, in order; what follows is in any order
	byID   bool        // list[i].id == i; never where sorted > 0
	buf    []candidate // what list is a part of
}

// reset makes room for n candidates.
func (c *candidates) reset(n int) {
	c.buf = slices.Grow(c.buf[:0], n)[:n]
	c.list, c.sorted, c.byID = c.buf, 0, false
}

// loadAll takes every token of a row.
func (c *candidates) loadAll(logits []float32) error {
	c.reset(len(logits))
	c.byID = true
	for id, l := range logits {
		if !(l <= math.MaxFloat32) {
			return badLogit(int32(id), l)
		}
		c.list[id] = candidate{id: int32(id), logit: l}
	}
	return nil
}

// loadTop takes the k best tokens of a row in one pass: whatever does not beat the worst of the k best so far costs one comparison.
func (c *candidates) loadTop(logits []float32, k int) error {
	if err := c.loadAll(logits[:k]); err != nil {
		return err
	}
	c.byID = false
	heapify(c.list)
	worst := &c.list[0]
	for i, l := range logits[k:] {
		if l <= worst.logit { // an equal one loses too, its id is larger; NaN and +Inf go on
			continue
		}
		id := int32(k + i)
		if !(l <= math.MaxFloat32) {
			return badLogit(id, l)
		}
		*worst = candidate{id: id, logit: l}
		siftDown(c.list, 0)
	}
	slices.SortFunc(c.list, compare)
	c.sorted = k
	return nil
}

// loadPairs takes the given tokens.
func (c *candidates) loadPairs(ids []int32, logits []float32) error {
	c.reset(len(ids))
	for i, l := range logits {
		if !(l <= math.MaxFloat32) {
			return badLogit(ids[i], l)
		}
		c.list[i] = candidate{id: ids[i], logit: l}
	}
	slices.SortFunc(c.list, compare)
	c.sorted = len(ids)
	return nil
}

func badLogit(id int32, l float32) error {
	return fmt.Errorf("sample: the logit of token %d is %v: the model file is damaged or the computation overflowed", id, l)
}

// adjust gives each candidate that is in m a new logit.
func adjust[V any](c *candidates, m map[int32]V, f func(logit float32, v V) float32) {
	if c.byID {
		for id, v := range m {
			c.list[id].logit = f(c.list[id].logit, v)
		}
	} else {
		for i := range c.list {
			if v, ok := m[c.list[i].id]; ok {
				c.list[i].logit = f(c.list[i].logit, v)
			}
		}
	}
	c.sorted = 0
}

// best returns the i-th best candidate. It sorts no further than in steps of 8 times as many, so that the few that most chains
// look at cost a pass or two over a vocabulary and not its sort.
func (c *candidates) best(i int) *candidate {
	if i >= c.sorted {
		c.sortTo(min(max(128, 8*i), len(c.list)))
	}
	return &c.list[i]
}

// sortTo sorts the n best to the front.
func (c *candidates) sortTo(n int) {
	if n <= c.sorted {
		return
	}
	rest := c.list[c.sorted:]
	top := rest[:n-c.sorted]
	if len(top) < len(rest) {
		heapify(top)
		for i := len(top); i < len(rest); i++ {
			if better(&rest[i], &top[0]) {
				rest[i], top[0] = top[0], rest[i]
				siftDown(top, 0)
			}
		}
	}
	slices.SortFunc(top, compare)
	c.sorted, c.byID = n, false
}

// keepBest drops all but the n best.
func (c *candidates) keepBest(n int) {
	n = min(n, len(c.list))
	c.sortTo(n)
	c.keep(0, n)
}

// keep drops all but list[lo:hi]. The list must be sorted up to hi, or up to lo where hi is its end.
func (c *candidates) keep(lo, hi int) {
	c.list = c.list[lo:hi]
	c.sorted = min(c.sorted-lo, hi-lo)
}

// keepFrom drops the logits below least, but never the best one.
func (c *candidates) keepFrom(least float32) {
	least = min(least, c.max())
	n := 0
	for _, x := range c.list {
		if x.logit >= least {
			c.list[n] = x
			n++
		}
	}
	c.byID = c.byID && n == len(c.list)
	c.list = c.list[:n]
	c.sorted = min(c.sorted, n) // the order stays, and what was dropped comes last in it
}

// max returns the largest logit.
func (c *candidates) max() float32 {
	if c.sorted > 0 {
		return c.list[0].logit
	}
	m := float32(math.Inf(-1))
	for i := range c.list {
		if l := c.list[i].logit; l > m {
			m = l
		}
	}
	return m
}

// softmax sets the weights, 1 for the best token, and returns their sum: probability is weight / sum.
func (c *candidates) softmax() float64 {
	top, sum := c.max(), 0.0
	for i := range c.list {
		x := &c.list[i]
		x.weight = exp(x.logit - top)
		sum += float64(x.weight)
	}
	return sum
}

// draw returns the token at fraction u, [0, 1), of the sum of probabilities.
func (c *candidates) draw(u float64) (int32, error) {
	target, sum := u*c.softmax(), 0.0
	id := int32(-1)
	for i := range c.list {
		if w := c.list[i].weight; w > 0 {
			id = c.list[i].id // the last one stands should rounding keep sum from passing target
			if sum += float64(w); sum > target {
				break
			}
		}
	}
	if id < 0 {
		return 0, errors.New("sample: every token is ruled out (logits of -Inf after bias and penalties)")
	}
	return id, nil
}

// heapify makes h a heap with the worst candidate at its root.
func heapify(h []candidate) {
	for i := len(h)/2 - 1; i >= 0; i-- {
		siftDown(h, i)
	}
}

// siftDown moves h[i] down to where neither child is worse.
func siftDown(h []candidate, i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && better(&h[child], &h[child+1]) {
			child++
		}
		if !better(&h[i], &h[child]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
