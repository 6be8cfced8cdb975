package cpu

import (
	"mustafar/backend"
	"mustafar/sparse"
)

// rowLayout is how one codec's rows of one tensor lie in memory: three arrays a KV head.
type rowLayout struct {
	codec              sparse.Codec
	headDim, keep      int
	words, values, scl int // a row: bitmap words, bytes of values, fp16 scales
}

func newRowLayout(c sparse.Codec, headDim int) rowLayout {
	return rowLayout{c, headDim, c.Keep(headDim), c.BitmapBytes(headDim) / 8, c.ValueBytes(headDim), c.ScaleBytes() / 2}
}

// overread is the room behind the values that kernels may read: one register.
const overread = 64

// bytes is what n rows take in the arrays of a segment, each array at a multiple of 64.
func (l rowLayout) bytes(n int) int {
	return roundUp(8*l.words*n, 64) + roundUp(l.values*n+overread, 64) + roundUp(2*l.scl*n, 64)
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// packedRows are rows of one KV head that lie one after the other.
type packedRows struct {
	rowLayout
	bitmaps []uint64
	vals    []byte // and overread behind them
	scales  []uint16
}

// at makes packedRows of the first n rows in b, of room for n.
func (l rowLayout) at(b []byte, n int) packedRows {
	w, v := roundUp(8*l.words*n, 64), roundUp(l.values*n+overread, 64)
	return packedRows{l, asWords(b[:8*l.words*n]), b[w:][:v], asHalves(b[w+v:][:2*l.scl*n])}
}

// from returns the rows from row i on.
func (r packedRows) from(i int) packedRows {
	r.bitmaps, r.vals, r.scales = r.bitmaps[i*r.words:], r.vals[i*r.values:], r.scales[i*r.scl:]
	return r
}

// segment is memory for whole groups: long arrays, since short runs restart the processor's prefetching. [kv head] { K rows, V rows }.
type segment struct {
	slab   *slab
	blocks int   // room
	next   int   // first block that no table counts, nor any behind it
	refs   []int // a block: tables that count it
	most   []int // a block, while counting bytes: the most rows that a table counts
	heads  []segmentHead
}

// segmentHead is where the rows of one KV head lie in a segment.
type segmentHead struct {
	k, v    rowPointers
	largest []float32 // a block: the largest scale of its V rows
}

// segmentRows is the least room of a segment.
const segmentRows = 1024

func (s *store) newSegment() *segment {
	rows := roundUp(segmentRows, s.spec.Group)
	n := rows / backend.BlockRows
	g := &segment{
		slab:   newSlab(s.spec.KVHeads * (s.k.bytes(rows) + s.v.bytes(rows))),
		blocks: n, refs: make([]int, n), most: make([]int, n), heads: make([]segmentHead, s.spec.KVHeads),
	}
	for kvh := range g.heads {
		k, v := s.head(g, kvh, 0)
		g.heads[kvh] = segmentHead{k.pointers(), v.pointers(), make([]float32, n)}
	}
	s.allocated += int64(len(g.slab.data))
	return g
}

// releaseEnd makes room of the blocks at the end that no table counts, and frees a segment that has only such.
func (s *store) releaseEnd(g *segment) {
	for g.next > 0 && g.refs[g.next-1] == 0 {
		g.next--
	}
	if g.next == 0 {
		s.allocated -= int64(len(g.slab.data))
		g.slab.free()
	}
}

// head returns the rows of K and V of one KV head from a block on.
func (s *store) head(g *segment, kvh, at int) (k, v packedRows) {
	rows := g.blocks * backend.BlockRows
	size := s.k.bytes(rows) + s.v.bytes(rows)
	b := g.slab.data[kvh*size:][:size]
	return s.k.at(b, rows).from(at * backend.BlockRows), s.v.at(b[s.k.bytes(rows):], rows).from(at * backend.BlockRows)
}

// segmentFor returns where p's next group of n blocks goes: behind its last packed block if nothing lies there yet, else a new segment.
func (s *store) segmentFor(p *past, n int) *segment {
	for i := len(p.blocks) - 1; i >= 0; i-- {
		if g := p.blocks[i].seg; g != nil {
			if g.next == p.blocks[i].at+1 && g.next+n <= g.blocks {
				return g
			}
			break
		}
	}
	return s.newSegment()
}
