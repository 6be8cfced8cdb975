package backend

import "mustafar/sparse"

// BlockRows is the number of rows that are stored together. Blocks are where attention's sums are cut, so that a result never depends on how a
// sequence came to be; a block that was cut by Truncate or Fork keeps its place and counts fewer rows.
const BlockRows = 64

// StoreSpec is the shape of one layer's K and V.
type StoreSpec struct {
	Heads, KVHeads, HeadDim int // each KV head serves Heads/KVHeads query heads
	K, V                    sparse.Codec
	Sinks                   int // first tokens of a sequence, in a block of their own that is never compressed
	Group                   int // most tokens that are compressed together, a multiple of BlockRows
}

// DenseRowBytes is what one token's K and V take in fp16, all KV heads.
func (s StoreSpec) DenseRowBytes() int { return s.KVHeads * s.HeadDim * 2 * 2 }

// PackedRowBytes is what one token's K and V take once compressed, all KV heads.
func (s StoreSpec) PackedRowBytes() int {
	return s.KVHeads * (s.K.RowBytes(s.HeadDim) + s.V.RowBytes(s.HeadDim))
}

// Run is n consecutive rows of a batch that belong to one sequence.
type Run struct {
	Seq  int // the sequence's slot in the store
	Row  int // first row in the batch's tensors
	N    int
	Pos  int  // position of the first row
	Step bool // a decode step: N is 1, and the result is bitwise the same whatever else is in the batch
}

// Store keeps K and V of one layer for any number of sequences, each named by a slot that comes to be at its first Append or Fork.
//
// A sequence's past is a table of blocks of BlockRows rows:
//
//	[sinks] [packed][packed]…[packed] [dense]…[dense]
//	 fp16    whole groups, compressed   fp16, the newest tokens
//
// Blocks are shared by reference between forks and never change below the rows that a table counts: a fork appends to a copy of the last one.
type Store interface {
	Spec() StoreSpec

	// Append adds K (after RoPE) and V of each run, (n, KVHeads·HeadDim), rounded to fp16, behind the rows that its sequence holds.
	Append(runs []Run, k, v Tensor)
	// Attend writes softmax(q·Kᵀ/√HeadDim)·V for every row of every run, out and q (n, Heads·HeadDim): a row sees all rows at its position and before.
	Attend(out, q Tensor, runs []Run)
	// Compress packs the oldest n dense rows after the sinks, n ≤ Group, into one group. Only a group of BlockRows·k rows leaves no gap.
	Compress(seq, n int)
	// Truncate forgets all but the first n rows.
	Truncate(seq, n int)
	// Fork makes dst, an empty slot, a copy of the first n rows of src.
	Fork(dst, src, n int)
	// Drop forgets the sequence.
	Drop(seq int)

	// Len and Packed count the rows of a sequence, and those of them that are compressed.
	Len(seq int) int
	Packed(seq int) int
	// Bytes is what the rows in use take by the codecs' formula, shared blocks once; Allocated is the memory taken for them. Both are host arithmetic.
	Bytes() int64
	Allocated() int64
}
