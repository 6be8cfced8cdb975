package cpu

import (
	"math"
	"unsafe"

	"mustafar/backend"
	"mustafar/gguf"
)

// promptScratch is what a worker needs for a panel of queries.
type promptScratch struct {
	q, acc         []float32 // (queries, head dim)
	scores         []float32 // (16, 64) of the queries in hand
	m, sum, factor []float32 // (queries)
	seen           []int32   // (queries) rows of the block that count
	k, v           []float32 // (64, head dim) of a block
	columns        []float32 // (head dim, 64) K of a block
}

// prompt attends with the queries of one item: all its rows, for the query heads of one KV head. K and V of a block are converted once, and multiplied
// as tiles with all the queries: scores are Q·Kᵀ, weights come from the online softmax, and the values' sum is acc·factor + weights·V.
func (j *attendJob) prompt(it *attendItem, w *scratch) {
	s, D, g := j.s, j.s.spec.HeadDim, j.s.group()
	p, n := &w.prompt, it.n*g
	q, acc := grow(&p.q, n*D), grow(&p.acc, n*D)
	m, sum, factor, seen := grow(&p.m, n), grow(&p.sum, n), grow(&p.factor, n), grow(&p.seen, n)
	scores, columns := grow(&p.scores, maxFloatRows*backend.BlockRows), grow(&p.columns, D*backend.BlockRows)
	scale := float32(1 / math.Sqrt(float64(D)))
	for i := range it.n {
		from := j.q[((it.row+i)*s.spec.Heads+it.kvh*g)*D:][:g*D]
		for c, x := range from {
			q[i*g*D+c] = x * scale
		}
	}
	clear(acc)
	clear(sum)
	for i := range m {
		m[i] = noScore
	}
	k, v := grow(&p.k, backend.BlockRows*D), grow(&p.v, backend.BlockRows*D)
	pos := 0
	for i := range it.p.blocks {
		b := &it.p.blocks[i]
		if pos >= it.pos+it.n {
			break
		}
		s.expand(k[:b.rows*D], v[:b.rows*D], b, it.kvh)
		clear(k[b.rows*D:])
		clear(v[b.rows*D:])
		s.c.k.transpose(&columns[0], &k[0], D)
		for r := range n {
			seen[r] = int32(max(0, min(b.rows, it.pos+r/g-pos+1)))
		}
		for lo := 0; lo < n; {
			size := s.c.k.floatRows(n - lo)
			if seen[lo+size-1] > 0 { // positions rise: the others see no more
				j.promptBlock(size, q[lo*D:], acc[lo*D:], scores, columns, v, m[lo:], sum[lo:], factor[lo:], seen[lo:])
			}
			lo += size
		}
		pos += b.rows
	}
	for r := range n {
		scaleTo(j.output(it, r), acc[r*D:], 1/sum[r])
	}
}

// promptBlock passes n queries over one block of K, as columns, and V, as rows.
func (j *attendJob) promptBlock(n int, q, acc, scores, k, v, m, sum, factor []float32, seen []int32) {
	const rowBytes = 4 * backend.BlockRows
	kernels, D := j.s.c.k, j.s.spec.HeadDim
	mul, add := kernels.floats[gguf.F32][n], kernels.adders[n]
	for c := 0; c < backend.BlockRows; c += tileRows {
		mul(bytePtr(k[c:]), bytePtr(q), &scores[c], D, rowBytes, 4*D, rowBytes)
	}
	kernels.softmax(&scores[0], &m[0], &sum[0], &factor[0], &seen[0], n)
	for c := 0; c < D; c += tileRows {
		add(bytePtr(v[c:]), bytePtr(scores), &acc[c], backend.BlockRows, 4*D, rowBytes, 4*D, &factor[0])
	}
}

func bytePtr(x []float32) *byte { return (*byte)(unsafe.Pointer(&x[0])) }
