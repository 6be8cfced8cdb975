package cpu

import (
	"math"
	"slices"

	"mustafar/backend"
)

// elementwiseJob is an operation on whole rows, a few rows a chunk.
type elementwiseJob struct {
	c    *CPU
	row  func(j *elementwiseJob, i, worker int)
	rows int // in all
	per  int // a chunk

	out, x, y []float32
	cols      int
	w         *weight
	ids       []int32
	eps       float32
	headDim   int
}

// rowsPerChunk keeps a chunk of rows near 10 µs.
func rowsPerChunk(cols int) int { return max(1, 32<<10/cols) }

func (j *elementwiseJob) do(chunk, worker int) {
	for i := chunk * j.per; i < min((chunk+1)*j.per, j.rows); i++ {
		j.row(j, i, worker)
	}
}

// run does the job on all rows of x.
func (j *elementwiseJob) run(c *CPU, rows, cols int, row func(j *elementwiseJob, i, worker int)) {
	j.c, j.row, j.rows, j.cols, j.per = c, row, rows, cols, rowsPerChunk(cols)
	c.pool.run(j, (rows+j.per-1)/j.per)
}

// Embed writes row ids[i] of w to row i of out.
func (c *CPU) Embed(out backend.Tensor, w backend.Weight, ids []int32) {
	j := &c.ew
	j.out, j.w, j.ids = floats(out), w.(*weight), ids
	backend.MustMatch("Embed", len(ids), j.w.cols, out)
	j.run(c, out.Rows, out.Cols, embedRow)
}

func embedRow(j *elementwiseJob, i, worker int) {
	j.c.dequantiseRow(j.out[i*j.cols:][:j.cols], j.w, int(j.ids[i]), &j.c.scratch[worker])
}

// RMSNorm writes x / sqrt(mean(x²) + eps) · w.
func (c *CPU) RMSNorm(out, x backend.Tensor, w backend.Weight, eps float32) {
	j := &c.ew
	j.out, j.x, j.w, j.eps = floats(out), floats(x), w.(*weight), eps
	backend.MustMatch("RMSNorm", x.Rows, j.w.cols, out, x)
	j.run(c, x.Rows, x.Cols, normRow)
}

func normRow(j *elementwiseJob, i, _ int) {
	x, out := j.x[i*j.cols:][:j.cols], j.out[i*j.cols:][:j.cols]
	scale := float32(1 / math.Sqrt(float64(j.c.k.dot(x, x)/float32(j.cols)+j.eps)))
	j.c.k.scaleBy(out, x, j.w.vector, scale)
}

// SwiGLU writes silu(gate)·up.
func (c *CPU) SwiGLU(out, gate, up backend.Tensor) {
	j := &c.ew
	j.out, j.x, j.y = floats(out), floats(gate), floats(up)
	backend.MustMatch("SwiGLU", gate.Rows, gate.Cols, out, up)
	j.run(c, gate.Rows, gate.Cols, swigluRow)
}

func swigluRow(j *elementwiseJob, i, _ int) {
	j.c.k.swiglu(j.out[i*j.cols:][:j.cols], j.x[i*j.cols:][:j.cols], j.y[i*j.cols:][:j.cols])
}

// Add adds y to x.
func (c *CPU) Add(x, y backend.Tensor) {
	j := &c.ew
	j.x, j.y = floats(x), floats(y)
	backend.MustMatch("Add", x.Rows, x.Cols, y)
	j.run(c, x.Rows, x.Cols, addRow)
}

func addRow(j *elementwiseJob, i, _ int) {
	j.c.k.axpy(j.x[i*j.cols:][:j.cols], 1, j.y[i*j.cols:][:j.cols])
}

// angles are the cosines and sines of the last positions asked for: every layer, and q as well as k, turn by the same.
type angles struct {
	pos      []int32
	of       *backend.Rope
	cos, sin []float32 // (n, 2·len(Freq)): each cosine twice, each sine negated and as it is
}

func (a *angles) set(pos []int32, r *backend.Rope) {
	if a.of == r && slices.Equal(a.pos, pos) {
		return
	}
	a.of, a.pos = r, append(a.pos[:0], pos...)
	n := 2 * len(r.Freq)
	a.cos, a.sin = grow(&a.cos, len(pos)*n), grow(&a.sin, len(pos)*n)
	for i, p := range pos {
		for j, f := range r.Freq {
			sin, cos := math.Sincos(float64(p) * f)
			at := i*n + 2*j
			a.cos[at], a.sin[at+1] = float32(cos)*r.Mag, float32(sin)*r.Mag
			a.cos[at+1], a.sin[at] = a.cos[at], -a.sin[at+1]
		}
	}
}

// RoPE turns the pairs (2j, 2j+1) of every head.
func (c *CPU) RoPE(x backend.Tensor, headDim int, pos []int32, r *backend.Rope) {
	backend.MustMatch("RoPE", len(pos), x.Cols, x)
	c.rope.set(pos, r)
	j := &c.ew
	j.x, j.headDim = floats(x), headDim
	j.run(c, x.Rows, x.Cols, ropeRow)
}

func ropeRow(j *elementwiseJob, i, _ int) {
	n := 2 * len(j.c.rope.of.Freq)
	cos, sin := j.c.rope.cos[i*n:][:n], j.c.rope.sin[i*n:][:n]
	for x := j.x[i*j.cols:][:j.cols]; len(x) > 0; x = x[j.headDim:] {
		j.c.k.rope(x[:n], cos, sin)
	}
}
