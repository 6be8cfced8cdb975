package cpu

import (
	"fmt"

	"mustafar/backend"
)

// appendJob writes new rows to dense blocks: a chunk a KV head and run of rows in one block.
type appendJob struct {
	s     *store
	k, v  []float32
	parts []appendPart
}

type appendPart struct {
	d        *denseBlock
	at, from int // first row in the block, in the batch
	n        int
}

// Append adds K and V of each run, rounded to fp16.
func (s *store) Append(runs []backend.Run, k, v backend.Tensor) {
	backend.MustMatch("Append", k.Rows, s.spec.KVHeads*s.spec.HeadDim, k, v)
	j := &s.app
	j.s, j.k, j.v, j.parts = s, floats(k), floats(v), j.parts[:0]
	for _, r := range runs {
		p := s.past(r.Seq)
		if p.n != r.Pos {
			panic(fmt.Sprintf("cpu: append at position %d to a sequence of %d rows", r.Pos, p.n))
		}
		for done := 0; done < r.N; {
			b := s.room(p)
			n := min(r.N-done, b.dense.room-b.rows)
			j.parts = append(j.parts, appendPart{b.dense, b.rows, r.Row + done, n})
			b.rows += n
			p.n += n
			done += n
			s.bytes += int64(n * s.spec.DenseRowBytes())
		}
	}
	s.c.pool.run(j, len(j.parts))
}

func (j *appendJob) do(chunk, _ int) {
	p, D, heads := j.parts[chunk], j.s.spec.HeadDim, j.s.spec.KVHeads
	for kvh := range heads {
		k, v := p.d.head(kvh, D)
		for i := range p.n {
			from, to := ((p.from+i)*heads+kvh)*D, (p.at+i)*D
			j.s.c.k.toHalves(k[to:][:D], j.k[from:][:D])
			j.s.c.k.toHalves(v[to:][:D], j.v[from:][:D])
		}
	}
}

// largestScale returns the largest of fp16 scales, which are never below 0.
func largestScale(scales []uint16) float32 {
	most := uint16(0)
	for _, s := range scales {
		most = max(most, s)
	}
	return halfToFloat(most)
}

// packJob compresses dense rows: a chunk a KV head and block.
type packJob struct {
	s      *store
	blocks []block // dense
	seg    *segment
	at     int
}

// Compress packs the oldest n dense rows after the sinks into one group.
func (s *store) Compress(seq, n int) {
	p := s.past(seq)
	first := 0 // the first dense block after sinks and packed ones
	for first < len(p.blocks) && (p.blocks[first].seg != nil || first == 0 && s.spec.Sinks > 0) {
		first++
	}
	j := &s.pack
	j.s, j.blocks = s, j.blocks[:0]
	rows := 0
	for _, b := range p.blocks[first:] {
		if rows < n {
			j.blocks = append(j.blocks, b)
			rows += b.rows
		}
	}
	if n <= 0 || rows != n || n > s.spec.Group {
		panic(fmt.Sprintf("cpu: compress %d rows, in whole blocks %d, groups of %d", n, rows, s.spec.Group))
	}
	j.seg = s.segmentFor(p, len(j.blocks))
	j.at = j.seg.next
	j.seg.next += len(j.blocks)
	s.c.pool.run(j, len(j.blocks)*s.spec.KVHeads)
	for i, b := range j.blocks {
		s.release(b)
		p.blocks[first+i] = block{seg: j.seg, at: j.at + i, rows: b.rows}
		j.seg.refs[j.at+i] = 1
		s.bytes += int64(b.rows * s.spec.PackedRowBytes())
	}
	p.packed += n
}

func (j *packJob) do(chunk, worker int) {
	i, kvh := chunk/j.s.spec.KVHeads, chunk%j.s.spec.KVHeads
	k, v := j.s.head(j.seg, kvh, j.at+i)
	dk, dv := j.blocks[i].dense.head(kvh, j.s.spec.HeadDim)
	k.encodeRows(dk, j.blocks[i].rows, j.s.c.k, &j.s.c.scratch[worker])
	v.encodeRows(dv, j.blocks[i].rows, j.s.c.k, &j.s.c.scratch[worker])
	j.seg.heads[kvh].largest[j.at+i] = largestScale(v.scales[:v.scl*j.blocks[i].rows])
}
