// Package kvcache keeps the past of sequences and decides when rows are compressed.
package kvcache

import (
	"fmt"

	"mustafar/backend"
)

// Shape is the attention of a model.
type Shape struct {
	Layers, Heads, KVHeads, HeadDim int
}

// Cache holds K and V of any number of sequences, in a backend's stores, one a layer. It is asked for attention, never for K and V.
//
// A forward pass calls, layer by layer, Put, Attend and Seal with its batch, then Commit. A long prompt may pass a layer chunk by chunk and be sealed
// there when its last chunk has passed, so that all of it sees itself dense.
type Cache struct {
	b      backend.Backend
	shape  Shape
	policy Policy
	stores []backend.Store
	seqs   []sequence
	extra  int64 // Hold
	peak   int64
}

type sequence struct {
	live bool
	n    int // committed tokens
	mark Seq // a fork that Rewind goes back to; none is -1
}

const none Seq = -1

// New makes an empty cache. The policy must be valid.
func New(b backend.Backend, shape Shape, policy Policy) *Cache {
	c := &Cache{b: b, shape: shape, policy: policy}
	for range shape.Layers {
		c.stores = append(c.stores, b.NewStore(backend.StoreSpec{
			Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: shape.HeadDim,
			K: policy.K, V: policy.V, Sinks: policy.Sinks, Group: policy.Group,
		}))
	}
	return c
}

// Policy returns the cache's policy.
func (c *Cache) Policy() Policy { return c.policy }

// NewSeq makes an empty sequence.
func (c *Cache) NewSeq() Seq {
	for i := range c.seqs {
		if !c.seqs[i].live {
			c.seqs[i] = sequence{live: true, mark: none}
			return Seq(i)
		}
	}
	c.seqs = append(c.seqs, sequence{live: true, mark: none})
	return Seq(len(c.seqs) - 1)
}

// Len returns the committed tokens of a sequence.
func (c *Cache) Len(s Seq) int { return c.seqs[s].n }

// Put adds K and V of the batch's rows in one layer: k after RoPE, k and v (n, KVHeads·HeadDim).
func (c *Cache) Put(b *Batch, layer int, k, v backend.Tensor) { c.stores[layer].Append(b.Runs, k, v) }

// Attend writes each row's attention over its sequence's past and itself: out, q (n, Heads·HeadDim).
func (c *Cache) Attend(b *Batch, layer int, out, q backend.Tensor) {
	c.stores[layer].Attend(out, q, b.Runs)
}

// Seal compresses what is due in one layer of the batch's sequences.
func (c *Cache) Seal(b *Batch, layer int) {
	c.notePeak()
	if !c.policy.Compacts() {
		return
	}
	st := c.stores[layer]
	for _, r := range b.Runs {
		for c.tail(st, r.Seq) >= c.policy.Window+c.policy.Group {
			st.Compress(r.Seq, c.policy.Group)
		}
	}
}

// tail counts a sequence's dense rows behind the sinks.
func (c *Cache) tail(st backend.Store, seq int) int {
	n := st.Len(seq)
	return n - min(n, c.policy.Sinks) - st.Packed(seq)
}

// Room returns how many tokens s can take before something is compressed; where prompts are compressed while they pass, a chunk ends there.
func (c *Cache) Room(s Seq) int {
	st := c.stores[0]
	return c.policy.Window + c.policy.Group - c.tail(st, int(s)) + max(0, c.policy.Sinks-st.Len(int(s)))
}

// Commit makes the batch's rows part of their sequences, once all layers have them.
func (c *Cache) Commit(b *Batch) {
	for _, r := range b.Runs {
		c.seqs[r.Seq].n = r.Pos + r.N
	}
	c.notePeak()
}

// Abort takes back what a prompt that did not reach Commit left in some of the layers: all layers compress as far as any did, and the sequence ends
// at its last committed token again.
func (c *Cache) Abort(s Seq) {
	n, packed := c.seqs[s].n, 0
	for _, st := range c.stores {
		st.Truncate(int(s), min(n, st.Len(int(s))))
		packed = max(packed, st.Packed(int(s)))
	}
	for _, st := range c.stores {
		for due := packed - st.Packed(int(s)); due > 0; due = packed - st.Packed(int(s)) {
			st.Compress(int(s), min(due, c.policy.Group))
		}
	}
}

// Truncate forgets all but the first n tokens of s. Compressed groups are cut, never expanded.
func (c *Cache) Truncate(s Seq, n int) {
	c.mustHold(s, n)
	for _, st := range c.stores {
		st.Truncate(int(s), n)
	}
	c.seqs[s].n = n
}

// Fork returns a new sequence with the first n tokens of s. What both have in common is held once.
func (c *Cache) Fork(s Seq, n int) Seq {
	c.mustHold(s, n)
	f := c.NewSeq()
	c.copy(f, s, n)
	return f
}

func (c *Cache) copy(dst, src Seq, n int) {
	for _, st := range c.stores {
		st.Fork(int(dst), int(src), n)
	}
	c.seqs[dst].n = n
}

// Mark remembers s as it is now, in place of what was marked before. It costs only what the sequence gives up later: its dense tail, once compressed.
func (c *Cache) Mark(s Seq) {
	c.unmark(s)
	mark := c.Fork(s, c.seqs[s].n)
	c.seqs[s].mark = mark
}

// Rewind makes s what Mark saw, to the bit; it may be called again. Without a mark it panics.
func (c *Cache) Rewind(s Seq) {
	mark := c.seqs[s].mark
	if mark == none {
		panic("kvcache: Rewind of a sequence that was never marked")
	}
	for _, st := range c.stores {
		st.Drop(int(s))
	}
	c.copy(s, mark, c.seqs[mark].n)
}

func (c *Cache) unmark(s Seq) {
	if m := c.seqs[s].mark; m != none {
		c.Drop(m)
		c.seqs[s].mark = none
	}
}

// Drop forgets s and its mark.
func (c *Cache) Drop(s Seq) {
	c.unmark(s)
	for _, st := range c.stores {
		st.Drop(int(s))
	}
	c.seqs[s] = sequence{}
}

func (c *Cache) mustHold(s Seq, n int) {
	if have := c.seqs[s].n; n < 0 || n > have {
		panic(fmt.Sprintf("kvcache: %d tokens of a sequence of %d", n, have))
	}
}
