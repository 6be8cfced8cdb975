package cpu

import (
	"math"

	"mustafar/backend"
)

// Attention walks the blocks of a sequence in order with an online softmax: the running maximum m, the sum l of exp(score - m), and the sum of values
// under these weights. A decode step's past is cut every partBlocks blocks of its table, whatever the number of threads, and the parts are merged in
// order; a prompt's queries go through all blocks, panelRows rows a chunk. So neither threads nor neighbours change a sum.
const (
	partBlocks = 16
	panelRows  = 64
)

// attendJob is an Attend: parts of decode steps, and panels of prompts.
type attendJob struct {
	s      *store
	out, q []float32
	items  []attendItem
	sums   []float32 // partial sums of decode steps: per item, Heads/KVHeads × sumSize
}

// attendItem is one chunk: rows of a run against blocks [lo, hi) for one KV head.
type attendItem struct {
	p           *past
	kvh         int
	row, n, pos int // of the queries: first in the batch, how many, position of the first
	lo, hi      int
	parts       int // of a decode step that follow one another from here on, in its first item; 0 in the others
	step        bool
}

// group is how many query heads a KV head serves.
func (s *store) group() int { return s.spec.Heads / s.spec.KVHeads }

// sumSize is the room of one head's partial sum: m, l, then the weighted values.
func (s *store) sumSize() int { return 2 + s.spec.HeadDim }

// Attend writes softmax(q·Kᵀ/√HeadDim)·V for every row of every run.
func (s *store) Attend(out, q backend.Tensor, runs []backend.Run) {
	backend.MustMatch("Attend", q.Rows, s.spec.Heads*s.spec.HeadDim, out, q)
	j := &s.c.att
	j.s, j.out, j.q, j.items = s, floats(out), floats(q), j.items[:0]
	for _, r := range runs {
		p := s.past(r.Seq)
		if p.n < r.Pos+r.N {
			panic("cpu: Attend: rows that were not appended")
		}
		for kvh := range s.spec.KVHeads {
			if r.Step {
				j.addStep(p, r, kvh)
			} else {
				j.addPanels(p, r, kvh)
			}
		}
	}
	j.sums = grow(&j.sums, len(j.items)*s.group()*s.sumSize())
	s.c.pool.run(j, len(j.items))
	for i, it := range j.items {
		if it.parts > 0 {
			j.mergeParts(i)
		}
	}
}

func (j *attendJob) addStep(p *past, r backend.Run, kvh int) {
	parts := (len(p.blocks) + partBlocks - 1) / partBlocks
	for i := range parts {
		it := attendItem{p: p, kvh: kvh, row: r.Row, n: 1, pos: r.Pos, lo: i * partBlocks, hi: min((i+1)*partBlocks, len(p.blocks)), step: true}
		if i == 0 {
			it.parts = parts
		}
		j.items = append(j.items, it)
	}
}

func (j *attendJob) addPanels(p *past, r backend.Run, kvh int) {
	for i := 0; i < r.N; i += panelRows {
		j.items = append(j.items, attendItem{p: p, kvh: kvh, row: r.Row + i, n: min(panelRows, r.N-i), pos: r.Pos + i, hi: len(p.blocks)})
	}
}

func (j *attendJob) do(chunk, worker int) {
	it, s, w := &j.items[chunk], j.s, &j.s.c.scratch[worker]
	if !it.step && s.c.k.softmax != nil {
		j.prompt(it, w)
		return
	}
	g, size := s.group(), s.sumSize()
	var sums []float32
	if it.step {
		sums = j.sums[chunk*g*size:][:g*size]
	} else {
		sums = grow(&w.sums, it.n*g*size)
	}
	for i := range it.n * g {
		sums[i*size] = float32(math.Inf(-1))
		clear(sums[i*size+1:][:size-1])
	}
	pos := 0
	for _, b := range it.p.blocks[:it.lo] {
		pos += b.rows
	}
	for i := it.lo; i < it.hi && pos < it.pos+it.n; i++ {
		j.block(&it.p.blocks[i], pos, it, sums, w)
		pos += it.p.blocks[i].rows
	}
	if !it.step {
		for i := range it.n * g {
			j.finish(it, i, sums[i*size:][:size])
		}
	}
}

// block adds one block, whose first row is at pos, to the sums of the item's queries.
func (j *attendJob) block(b *block, pos int, it *attendItem, sums []float32, w *scratch) {
	s, D, g, size := j.s, j.s.spec.HeadDim, j.s.group(), j.s.sumSize()
	k, v := grow(&w.k, b.rows*D), grow(&w.v, b.rows*D)
	s.expand(k, v, b, it.kvh)
	scores := grow(&w.s, backend.BlockRows)
	scale := float32(1 / math.Sqrt(float64(D)))
	for i := range it.n * g {
		row := it.row + i/g
		seen := min(b.rows, it.pos+i/g-pos+1)
		if seen <= 0 {
			continue
		}
		q := j.q[(row*s.spec.Heads+it.kvh*g+i%g)*D:][:D]
		sum := sums[i*size:][:size]
		top := sum[0]
		for t := range seen {
			scores[t] = s.c.k.dot(q, k[t*D:][:D]) * scale
			top = max(top, scores[t])
		}
		correction := exp32(sum[0] - top)
		l, acc := sum[1]*correction, sum[2:]
		for c := range acc {
			acc[c] *= correction
		}
		for t, x := range scores[:seen] {
			p := exp32(x - top)
			l += p
			s.c.k.axpy(acc, p, v[t*D:][:D])
		}
		sum[0], sum[1] = top, l
	}
}

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

// expand writes the block's K and V of one KV head as f32.
func (s *store) expand(k, v []float32, b *block, kvh int) {
	if b.dense != nil {
		hk, hv := b.dense.head(kvh, s.spec.HeadDim)
		s.c.k.halves(k, hk[:len(k)])
		s.c.k.halves(v, hv[:len(v)])
		return
	}
	pk, pv := s.head(b.seg, kvh, b.at)
	pk.expand(k, b.rows, s.c.k)
	pv.expand(v, b.rows, s.c.k)
}

// finish writes a query's output from its sum.
func (j *attendJob) finish(it *attendItem, i int, sum []float32) {
	s, D, g := j.s, j.s.spec.HeadDim, j.s.group()
	out := j.out[((it.row+i/g)*s.spec.Heads+it.kvh*g+i%g)*D:][:D]
	for c, x := range sum[2:] {
		out[c] = x / sum[1]
	}
}

// mergeParts joins the parts of one decode step and KV head, in order, into its first part, and writes the outputs.
func (j *attendJob) mergeParts(first int) {
	g, size := j.s.group(), j.s.sumSize()
	for h := range g {
		a := j.sums[(first*g+h)*size:][:size]
		for p := 1; p < j.items[first].parts; p++ {
			b := j.sums[((first+p)*g+h)*size:][:size]
			top := max(a[0], b[0])
			fa, fb := exp32(a[0]-top), exp32(b[0]-top)
			a[0], a[1] = top, a[1]*fa+b[1]*fb
			for c := 2; c < size; c++ {
				a[c] = a[c]*fa + b[c]*fb
			}
		}
		j.finish(&j.items[first], h, a)
	}
}
