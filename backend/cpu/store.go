package cpu

import (
	"fmt"

	"mustafar/backend"
	"mustafar/sparse"
)

// store is one layer's K and V. It implements backend.Store.
type store struct {
	c             *CPU
	spec          backend.StoreSpec
	seqs          []*past
	arena         *arena // of dense blocks
	k, v          rowLayout
	dense, packed stepKernels // for decode steps

	bytes     int64 // of rows in use, shared ones once
	stale     bool  // a shared block lost a table: bytes must be counted anew
	allocated int64
	pack      packJob
	app       appendJob
}

// past is the block table of a sequence: sinks, packed groups, dense rows.
type past struct {
	blocks []block
	n      int // rows
	packed int // of them compressed
}

// block is up to 64 rows of a sequence in memory that others may share: its first rows, as many as the table says.
type block struct {
	dense *denseBlock // or
	seg   *segment
	at    int // number of the block in seg
	rows  int
}

// denseBlock is rows in fp16 as they come, K and V of a KV head beside each other: [kv head] { K [cap][D], V [cap][D] }.
type denseBlock struct {
	piece piece
	half  []uint16
	cap   int // rows that there is memory for
	room  int // rows that may be used
	refs  int // tables that count it
	most  int // while counting bytes: the most rows that a table counts
}

// NewStore makes the store of one layer.
func (c *CPU) NewStore(spec backend.StoreSpec) backend.Store {
	if spec.HeadDim%64 != 0 || spec.Group%backend.BlockRows != 0 || spec.Group == 0 || spec.Sinks > backend.BlockRows {
		panic(fmt.Sprintf("cpu: store of head dimension %d, group %d, sinks %d", spec.HeadDim, spec.Group, spec.Sinks))
	}
	size := backend.BlockRows * spec.DenseRowBytes()
	if c.dense[size] == nil {
		c.dense[size] = newArena(size)
	}
	return &store{
		c: c, spec: spec, arena: c.dense[size],
		k: newRowLayout(spec.K, spec.HeadDim), v: newRowLayout(spec.V, spec.HeadDim),
		dense:  newStepKernels(c.k, sparse.Dense, sparse.Dense, spec.HeadDim),
		packed: newStepKernels(c.k, spec.K, spec.V, spec.HeadDim),
	}
}

func (s *store) Spec() backend.StoreSpec { return s.spec }

// past returns the sequence in a slot, made at its first use.
func (s *store) past(seq int) *past {
	for len(s.seqs) <= seq {
		s.seqs = append(s.seqs, nil)
	}
	if s.seqs[seq] == nil {
		s.seqs[seq] = &past{}
	}
	return s.seqs[seq]
}

func (s *store) Len(seq int) int    { return s.past(seq).n }
func (s *store) Packed(seq int) int { return s.past(seq).packed }

// Allocated counts this layer's segments and dense blocks.
func (s *store) Allocated() int64 { return s.allocated }

// Bytes counts rows in use.
func (s *store) Bytes() int64 {
	if s.stale {
		s.count()
	}
	return s.bytes
}

// count counts the rows in use from the tables.
func (s *store) count() {
	s.bytes, s.stale = 0, false
	s.eachBlock(func(b *block) { *b.most() = 0 })
	s.eachBlock(func(b *block) {
		if m := b.most(); b.rows > *m {
			s.bytes += int64((b.rows - *m) * s.rowBytes(b))
			*m = b.rows
		}
	})
}

func (s *store) eachBlock(do func(*block)) {
	for _, p := range s.seqs {
		if p != nil {
			for i := range p.blocks {
				do(&p.blocks[i])
			}
		}
	}
}

func (s *store) rowBytes(b *block) int {
	if b.dense != nil {
		return s.spec.DenseRowBytes()
	}
	return s.spec.PackedRowBytes()
}

// refs counts the tables that share the block.
func (b *block) refs() *int {
	if b.dense != nil {
		return &b.dense.refs
	}
	return &b.seg.refs[b.at]
}

func (b *block) most() *int {
	if b.dense != nil {
		return &b.dense.most
	}
	return &b.seg.most[b.at]
}

// room returns the last block of p with at least one row free, p's alone: a new one, or a copy of one that is shared, if need be.
func (s *store) room(p *past) *block {
	if last := len(p.blocks) - 1; last >= 0 {
		b := &p.blocks[last]
		if d := b.dense; d != nil && b.rows < d.room {
			if d.refs > 1 {
				*b = s.copyDense(*b)
			}
			return b
		}
	}
	rows := backend.BlockRows
	if p.n < s.spec.Sinks {
		rows = s.spec.Sinks
	}
	p.blocks = append(p.blocks, block{dense: s.newDense(rows)})
	return &p.blocks[len(p.blocks)-1]
}

func (s *store) newDense(rows int) *denseBlock {
	d := &denseBlock{cap: roundUp(rows, kernelRows), room: rows, refs: 1}
	if d.cap == backend.BlockRows {
		d.piece = s.arena.get()
		d.half = asHalves(d.piece.data)
	} else { // the sinks: too few rows for a whole piece
		d.half = make([]uint16, d.cap*s.spec.DenseRowBytes()/2)
	}
	s.allocated += int64(2 * len(d.half))
	return d
}

// kernelRows is how many rows of K a kernel reads at once, whether they count or not.
const kernelRows = 16

// copyDense moves the rows that b counts of a shared block to a block of their own.
func (s *store) copyDense(b block) block {
	d := s.newDense(b.dense.room)
	stride := d.cap * s.spec.HeadDim
	for h := range 2 * s.spec.KVHeads {
		copy(d.half[h*stride:][:b.rows*s.spec.HeadDim], b.dense.half[h*stride:])
	}
	s.release(b)
	return block{dense: d, rows: b.rows}
}

// release takes a table away from a block; memory that none counts is given back.
func (s *store) release(b block) {
	refs := b.refs()
	if *refs--; *refs > 0 {
		s.stale = true
		return
	}
	s.bytes -= int64(b.rows * s.rowBytes(&b))
	switch {
	case b.seg != nil:
		s.releaseEnd(b.seg)
	default:
		s.allocated -= int64(2 * len(b.dense.half))
		if b.dense.piece.home != nil {
			s.arena.put(b.dense.piece)
		}
	}
}

// head returns the fp16 rows of K and V of one KV head.
func (d *denseBlock) head(kvh, headDim int) (k, v []uint16) {
	n := d.cap * headDim
	return d.half[2*kvh*n:][:n], d.half[(2*kvh+1)*n:][:n]
}

// shrink makes b count only rows rows of what it holds.
func (s *store) shrink(b *block, rows int) {
	if *b.refs() > 1 {
		s.stale = true
	}
	s.bytes -= int64((b.rows - rows) * s.rowBytes(b))
	b.rows = rows
}

// Truncate forgets all but the first n rows.
func (s *store) Truncate(seq, n int) {
	p := s.past(seq)
	if n < 0 || n > p.n {
		panic(fmt.Sprintf("cpu: truncate a sequence of %d rows to %d", p.n, n))
	}
	for p.n > n {
		b := &p.blocks[len(p.blocks)-1]
		cut := min(b.rows, p.n-n)
		p.n -= cut
		if b.seg != nil {
			p.packed -= cut
		}
		if cut < b.rows {
			s.shrink(b, b.rows-cut)
			break
		}
		s.release(*b)
		p.blocks = p.blocks[:len(p.blocks)-1]
	}
}

// Fork makes dst a copy of the first n rows of src, block by block by reference.
func (s *store) Fork(dst, src, n int) {
	from, to := s.past(src), s.past(dst)
	if to.n != 0 || n > from.n {
		panic(fmt.Sprintf("cpu: fork %d of %d rows into a sequence of %d", n, from.n, to.n))
	}
	for _, b := range from.blocks {
		if to.n == n {
			break
		}
		b.rows = min(b.rows, n-to.n)
		*b.refs()++
		to.blocks = append(to.blocks, b)
		to.n += b.rows
		if b.seg != nil {
			to.packed += b.rows
		}
	}
}

// Drop forgets the sequence.
func (s *store) Drop(seq int) {
	if seq < len(s.seqs) && s.seqs[seq] != nil {
		s.Truncate(seq, 0)
		s.seqs[seq] = nil
	}
}
