package cpu

import (
	"mustafar/backend"
	"mustafar/gguf"
)

// activations are the rows of x that a product reads: as they are, and rounded to int8 where a weight's type wants that.
type activations struct {
	x       []float32
	n, cols int
	q       []int8    // (n, cols)
	ds      []float32 // (n, cols/32) of {d, d·Σq}
}

func (a *activations) row(i int) []float32 { return a.x[i*a.cols:][:a.cols] }

func (a *activations) quantised(i int) ([]int8, []float32) {
	g := a.cols / 32
	return a.q[i*a.cols:][:a.cols], a.ds[2*i*g:][:2*g]
}

// set takes n rows of x; quantise says whether any weight wants them in int8.
func (a *activations) set(c *CPU, x []float32, n, cols int, quantise bool) {
	a.x, a.n, a.cols = x, n, cols
	if !quantise {
		return
	}
	a.q, a.ds = grow(&a.q, n*cols), grow(&a.ds, n*cols/16)
	for i := range n {
		q, ds := a.quantised(i)
		c.k.quantise(q, ds, a.row(i))
	}
}

// matmulJob is a MatMul cut into chunks of weight rows.
type matmulJob struct {
	c    *CPU
	outs []product
}

type product struct {
	y     []float32
	w     *weight
	per   int // rows of w in a chunk
	first int // number of its first chunk
}

// chunkWork is how much of a product a chunk does, in multiplications: 5 to 20 µs for one thread.
const chunkWork = 256 << 10

// quantised reports whether products with w round the activations to int8.
func (c *CPU) quantised(w *weight) bool {
	return !c.opt.F32 && w.typ != gguf.F32 && w.typ != gguf.F16 && w.typ != gguf.BF16
}

// MatMul writes x·Wᵀ to each of outs.
func (c *CPU) MatMul(x backend.Tensor, outs []backend.Out) {
	c.mm.outs = c.mm.outs[:0]
	for _, o := range outs {
		w := o.W.(*weight)
		backend.MustMatch("MatMul: input", x.Rows, w.cols, x)
		backend.MustMatch("MatMul: output", x.Rows, w.rows, o.Y)
		c.mm.outs = append(c.mm.outs, product{y: floats(o.Y), w: w})
	}
	c.multiplyAll(floats(x), x.Rows, x.Cols)
}

// multiply writes n rows of x times each weight.
func (c *CPU) multiply(x []float32, n int, outs ...product) {
	c.mm.outs = append(c.mm.outs[:0], outs...)
	c.multiplyAll(x, n, outs[0].w.cols)
}

// multiplyAll runs the products that c.mm.outs names, in one hand-over.
func (c *CPU) multiplyAll(x []float32, n, cols int) {
	j := &c.mm
	j.c = c
	chunks, quantise := 0, false
	for i := range j.outs {
		o := &j.outs[i]
		o.per = max(1, chunkWork/(cols*max(1, n)))
		o.first = chunks
		chunks += (o.w.rows + o.per - 1) / o.per
		quantise = quantise || c.quantised(o.w)
	}
	c.acts.set(c, x, n, cols, quantise)
	c.pool.run(j, chunks)
}

func (j *matmulJob) do(chunk, worker int) {
	i := len(j.outs) - 1
	for j.outs[i].first > chunk {
		i--
	}
	o := &j.outs[i]
	lo := (chunk - o.first) * o.per
	for r := lo; r < min(lo+o.per, o.w.rows); r++ {
		j.c.productRow(o.y[r:], o.w, r, &j.c.acts, &j.c.scratch[worker])
	}
}

// productRow writes the products of weight row r with all rows of the activations, w.rows apart.
func (c *CPU) productRow(y []float32, w *weight, r int, a *activations, s *scratch) {
	switch {
	case w.typ == gguf.F32:
		for i := range a.n {
			y[i*w.rows] = c.k.dot(asFloats(w.row(r)), a.row(i))
		}
	case w.typ == gguf.F16:
		for i := range a.n {
			y[i*w.rows] = c.k.dotHalf(w.row(r), a.row(i))
		}
	case w.typ == gguf.BF16:
		for i := range a.n {
			y[i*w.rows] = c.k.dotBF16(w.row(r), a.row(i))
		}
	case c.opt.F32:
		row := grow(&s.row, w.cols)
		c.dequantiseRow(row, w, r, s)
		for i := range a.n {
			y[i*w.rows] = c.k.dot(row, a.row(i))
		}
	case c.k.dotQ[w.typ] != nil:
		dot := c.k.dotQ[w.typ]
		for i := range a.n {
			q, ds := a.quantised(i)
			y[i*w.rows] = dot(w.row(r), q, ds)
		}
	default:
		u, d, m, group := w.unpackRow(r, s)
		for i := range a.n {
			q, ds := a.quantised(i)
			y[i*w.rows] = dotUnpacked(u, d, m, group, q, ds)
		}
	}
}
