package cpu

import (
	"math"

	"mustafar/backend"
)

// Attention walks the blocks of a sequence in order with an online softmax: the running maximum m, the sum l of exp(score - m), and the sum of values
// under these weights. A decode step's past is cut into parts at fixed blocks of its table, whatever the number of threads, and the parts are merged in
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
	steps  []step
	sums   []float32 // of the parts of steps: sumSize each
	queryMemory
}

// attendItem is one chunk: rows of a run against blocks [lo, hi) for one KV head.
type attendItem struct {
	p           *past
	kvh         int
	row, n, pos int // of the queries: first in the batch, how many, position of the first
	lo, hi      int
	step        int // of a decode step: its number; below 0: a prompt
	packed      bool
}

// step is one decode step's attention for one KV head: items [first, first+parts).
type step struct {
	first, parts int
	dense, pack  queries
}

// group is how many query heads a KV head serves.
func (s *store) group() int { return s.spec.Heads / s.spec.KVHeads }

// Attend writes softmax(q·Kᵀ/√HeadDim)·V for every row of every run.
func (s *store) Attend(out, q backend.Tensor, runs []backend.Run) {
	backend.MustMatch("Attend", q.Rows, s.spec.Heads*s.spec.HeadDim, out, q)
	j := &s.c.att
	j.s, j.out, j.q, j.items, j.steps = s, floats(out), floats(q), j.items[:0], j.steps[:0]
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
	j.sums = grow(&j.sums, len(j.items)*s.sumSize())
	j.prepareQueries()
	s.c.pool.run(j, len(j.items))
	for i := range j.steps {
		j.merge(&j.steps[i])
	}
}

// addStep cuts a step's past into parts: at every partBlocks blocks, and where dense blocks meet packed ones whose sums have another order.
func (j *attendJob) addStep(p *past, r backend.Run, kvh int) {
	st := step{first: len(j.items)}
	apart := j.s.packed.ok
	for lo := 0; lo < len(p.blocks); {
		packed := apart && p.blocks[lo].seg != nil
		hi := lo + 1
		for hi < len(p.blocks) && hi%partBlocks != 0 && (apart && p.blocks[hi].seg != nil) == packed {
			hi++
		}
		j.items = append(j.items, attendItem{p: p, kvh: kvh, row: r.Row, n: 1, pos: r.Pos, lo: lo, hi: hi, step: len(j.steps), packed: packed})
		lo = hi
	}
	st.parts = len(j.items) - st.first
	j.steps = append(j.steps, st)
}

func (j *attendJob) addPanels(p *past, r backend.Run, kvh int) {
	for i := 0; i < r.N; i += panelRows {
		j.items = append(j.items, attendItem{p: p, kvh: kvh, row: r.Row + i, n: min(panelRows, r.N-i), pos: r.Pos + i, hi: len(p.blocks), step: -1})
	}
}

func (j *attendJob) do(chunk, worker int) {
	it, s, w := &j.items[chunk], j.s, &j.s.c.scratch[worker]
	switch {
	case it.step >= 0 && s.packed.ok:
		j.stepPart(it, j.part(chunk), w)
	case it.step >= 0 && s.c.k.rowDots != nil:
		j.expandedPart(it, j.part(chunk), w)
	case it.step >= 0:
		j.plain(it, j.part(chunk), w)
	case s.c.k.softmax != nil:
		j.prompt(it, w)
	default:
		sum := newPartial(grow(&w.sums, it.n*s.sumSize()), it.n*s.group(), s.spec.HeadDim)
		j.plain(it, sum, w)
		for i := range it.n * s.group() {
			scaleTo(j.output(it, i), sum.acc[i*s.spec.HeadDim:], 1/sum.l[i])
		}
	}
}

// output is where query i of an item writes.
func (j *attendJob) output(it *attendItem, i int) []float32 {
	s, g := j.s, j.s.group()
	return j.out[((it.row+i/g)*s.spec.Heads+it.kvh*g+i%g)*s.spec.HeadDim:][:s.spec.HeadDim]
}

func scaleTo(dst, x []float32, factor float32) {
	for c := range dst {
		dst[c] = x[c] * factor
	}
}

// partial is what an online softmax has seen of some queries.
type partial struct {
	m, l []float32 // (queries)
	acc  []float32 // (queries, head dim) Σ exp(score - m)·v
}

// sumSize is the room of a partial of one KV head's queries.
func (s *store) sumSize() int { return s.group() * (2 + s.spec.HeadDim) }

// newPartial makes an empty partial of n queries in memory.
func newPartial(f []float32, n, headDim int) partial {
	p := partial{f[:n], f[n : 2*n], f[2*n:][:n*headDim]}
	for i := range p.m {
		p.m[i] = noScore
	}
	clear(p.l)
	clear(p.acc)
	return p
}

// noScore is below every score, and finite, so that differences are numbers.
const noScore = -1e30

// part returns the memory of item i's sums, emptied.
func (j *attendJob) part(i int) partial {
	size := j.s.sumSize()
	return newPartial(j.sums[i*size:][:size], j.s.group(), j.s.spec.HeadDim)
}

// plain adds the item's blocks to the sums of its queries, row by row: the twin of all other ways.
func (j *attendJob) plain(it *attendItem, sum partial, w *scratch) {
	s, D, g := j.s, j.s.spec.HeadDim, j.s.group()
	scale := float32(1 / math.Sqrt(float64(D)))
	scores := grow(&w.s, backend.BlockRows)
	pos := it.p.rowsBefore(it.lo)
	for i := it.lo; i < it.hi && pos < it.pos+it.n; i++ {
		b := &it.p.blocks[i]
		k, v := grow(&w.k, b.rows*D), grow(&w.v, b.rows*D)
		s.expand(k, v, b, it.kvh)
		for r := range it.n * g {
			seen := min(b.rows, it.pos+r/g-pos+1)
			if seen <= 0 {
				continue
			}
			q := j.q[((it.row+r/g)*s.spec.Heads+it.kvh*g+r%g)*D:][:D]
			top := sum.m[r]
			for t := range seen {
				scores[t] = s.c.k.dot(q, k[t*D:][:D]) * scale
				top = max(top, scores[t])
			}
			correction := exp32(sum.m[r] - top)
			l, acc := sum.l[r]*correction, sum.acc[r*D:][:D]
			for c := range acc {
				acc[c] *= correction
			}
			for t, x := range scores[:seen] {
				p := exp32(x - top)
				l += p
				s.c.k.axpy(acc, p, v[t*D:][:D])
			}
			sum.m[r], sum.l[r] = top, l
		}
		pos += b.rows
	}
}

// rowsBefore counts the rows in blocks [0, i).
func (p *past) rowsBefore(i int) (n int) {
	for _, b := range p.blocks[:i] {
		n += b.rows
	}
	return n
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

// merge joins the parts of a step, in order, and writes its outputs. Sums of packed parts are added up as their kernels left the channels, and put in
// order once.
func (j *attendJob) merge(st *step) {
	s, D := j.s, j.s.spec.HeadDim
	it := &j.items[st.first]
	natural, packed := grow(&j.natural, D), grow(&j.permuted, D)
	for h := range s.group() {
		top, l := float32(noScore), float32(0)
		for i := range st.parts {
			top = max(top, j.peek(st.first + i).m[h])
		}
		clear(natural)
		clear(packed)
		for i := range st.parts {
			p := j.peek(st.first + i)
			f := exp32(p.m[h] - top)
			l += f * p.l[h]
			to := natural
			if j.items[st.first+i].packed {
				to = packed
			}
			s.c.k.axpy(to, f, p.acc[h*D:][:D])
		}
		out := j.output(it, h)
		for c, at := range s.packed.order {
			out[c] = (natural[c] + packed[at]) / l
		}
	}
}

// peek returns the sums of item i.
func (j *attendJob) peek(i int) partial {
	g, size := j.s.group(), j.s.sumSize()
	f := j.sums[i*size:][:size]
	return partial{f[:g], f[g : 2*g], f[2*g:]}
}
