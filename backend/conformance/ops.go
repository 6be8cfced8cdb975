package conformance

import (
	"math"
	"slices"
	"testing"

	"mustafar/backend"
	"mustafar/gguf"
	"mustafar/gguf/synth"
)

func (c Config) embed(t *testing.T) {
	b, r := c.New(t), rng()
	for _, typ := range c.Types {
		cols := 2 * typ.BlockSize() * max(1, 32/typ.BlockSize())
		data := synth.Rows(r, typ, cols, 10, 1)
		w, err := b.Table(gguf.Tensor{Name: "w", Type: typ, Shape: []int{cols, 10}, Data: aligned(data)})
		if err != nil {
			t.Fatal(err)
		}
		ids := []int32{3, 0, 9, 9}
		out := b.Alloc(len(ids), cols)
		b.Embed(out, w, ids)
		all := make([]float32, 10*cols)
		gguf.Dequantize(all, typ, data)
		for i, id := range ids {
			near(t, "row of "+typ.String(), read(t, b, out)[i*cols:][:cols], wide(all[int(id)*cols:][:cols]), 1e-6)
		}
	}
}

func (c Config) rmsNorm(t *testing.T) {
	b, r := c.New(t), rng()
	const rows, eps = 3, 1e-5
	for _, cols := range []int{32, 576, 4096} {
		x, w := synth.Normals(r, rows*cols, 3), synth.Normals(r, cols, 1)
		want := make([]float64, len(x))
		for i := range rows {
			sum := 0.0
			for _, v := range x[i*cols:][:cols] {
				sum += float64(v) * float64(v)
			}
			for j := range cols {
				want[i*cols+j] = float64(x[i*cols+j]) / math.Sqrt(sum/float64(cols)+eps) * float64(w[j])
			}
		}
		in := tensor(t, b, x, cols)
		out, vector := b.Alloc(rows, cols), uploadBytes(t, b, gguf.F32, gguf.Quantize(gguf.F32, w), cols)
		b.RMSNorm(out, in, vector, eps)
		near(t, "norm", read(t, b, out), want, 1e-5)
		b.RMSNorm(in, in, vector, eps)
		near(t, "norm in place", read(t, b, in), want, 1e-5)
	}
}

// shapes of weights: rows that are no multiple of any tile, columns that end in the middle of every unrolling.
var shapes = []struct{ rows, cols int }{{1, 256}, {48, 256}, {33, 768}, {16, 1280}, {100, 512}}

func (c Config) matMul(t *testing.T) {
	b, r := c.New(t), rng()
	for _, typ := range c.Types {
		for _, s := range shapes {
			cols := s.cols
			if typ.BlockSize() <= 32 {
				cols += 64 // types of small blocks have rows that superblocks cannot
			}
			data := synth.Rows(r, typ, cols, s.rows, 1)
			w := make([]float32, s.rows*cols)
			gguf.Dequantize(w, typ, data)
			weight := uploadBytes(t, b, typ, data, cols, s.rows)
			for _, n := range []int{1, 2, 7, 40} {
				x := synth.Normals(r, n*cols, 1)
				out := b.Alloc(n, s.rows)
				b.MatMul(tensor(t, b, x, cols), []backend.Out{{Y: out, W: weight}})
				near(t, typ.String(), read(t, b, out), product(x, w, n, s.rows, cols), c.tolerance(typ))
				b.Free(out)
			}
		}
	}
}

// tolerance of a product: the worst element lies about 4 sigma from the mean error.
func (c Config) tolerance(typ gguf.Type) float64 {
	if typ == gguf.F32 || typ == gguf.F16 || typ == gguf.BF16 {
		return 1e-5
	}
	return c.MatMul
}

func product(x, w []float32, n, rows, cols int) []float64 {
	y := make([]float64, n*rows)
	for i := range n {
		for r := range rows {
			for k := range cols {
				y[i*rows+r] += float64(x[i*cols+k]) * float64(w[r*cols+k])
			}
		}
	}
	return y
}

// matMulRows: a row's products are the same whatever other rows and weights are in the call.
func (c Config) matMulRows(t *testing.T) {
	b, r := c.New(t), rng()
	const rows, cols, n = 80, 512, 37
	for _, typ := range c.Types {
		w1 := uploadBytes(t, b, typ, synth.Rows(r, typ, cols, rows, 1), cols, rows)
		w2 := uploadBytes(t, b, typ, synth.Rows(r, typ, cols, rows/2, 1), cols, rows/2)
		x := tensor(t, b, synth.Normals(r, n*cols, 1), cols)
		y1, y2, one := b.Alloc(n, rows), b.Alloc(n, rows/2), b.Alloc(1, rows)
		b.MatMul(x, []backend.Out{{Y: y1, W: w1}, {Y: y2, W: w2}})
		together := slices.Clone(read(t, b, y1))
		for i := range n {
			b.MatMul(x.Range(i, i+1), []backend.Out{{Y: one, W: w1}})
			same(t, typ.String()+" row alone", read(t, b, one), together[i*rows:][:rows])
		}
	}
}

func (c Config) rope(t *testing.T) {
	b, r := c.New(t), rng()
	pos := []int32{0, 1, 5000}
	for _, s := range []struct{ heads, dim, turned int }{{3, 64, 64}, {2, 128, 96}} {
		rope := &backend.Rope{Mag: 1.25}
		for j := range s.turned / 2 {
			rope.Freq = append(rope.Freq, math.Pow(10000, -2*float64(j)/float64(s.turned)))
		}
		cols := s.heads * s.dim
		x := synth.Normals(r, len(pos)*cols, 1)
		want := wide(x)
		for i, p := range pos {
			for h := range s.heads {
				for j, f := range rope.Freq {
					at := i*cols + h*s.dim + 2*j
					sin, cos := math.Sincos(float64(p) * f)
					x, y := want[at], want[at+1]
					want[at], want[at+1] = 1.25*(x*cos-y*sin), 1.25*(x*sin+y*cos)
				}
			}
		}
		in := tensor(t, b, x, cols)
		b.RoPE(in, s.dim, pos, rope)
		near(t, "rope", read(t, b, in), want, 1e-5)
	}
}

func (c Config) elementwise(t *testing.T) {
	b, r := c.New(t), rng()
	for _, cols := range []int{32, 1536} {
		g, u := synth.Normals(r, 2*cols, 4), synth.Normals(r, 2*cols, 1)
		g[0], g[1], g[2] = 100, -100, 0
		swiglu, sum := make([]float64, len(g)), make([]float64, len(g))
		for i, v := range wide(g) {
			swiglu[i] = v / (1 + math.Exp(-v)) * float64(u[i])
			sum[i] = v + float64(u[i])
		}
		gate, up, out := tensor(t, b, g, cols), tensor(t, b, u, cols), b.Alloc(2, cols)
		b.SwiGLU(out, gate, up)
		near(t, "swiglu", read(t, b, out), swiglu, 1e-5)
		b.Add(up, gate)
		near(t, "add", read(t, b, up), sum, 1e-6)
		b.SwiGLU(gate, gate, tensor(t, b, u, cols))
		near(t, "swiglu in place", read(t, b, gate), swiglu, 1e-5)
	}
}

func (c Config) experts(t *testing.T) {
	b, r := c.New(t), rng()
	const n, embd, ff, count, used = 9, 64, 96, 5, 2
	router, gate, up, down := synth.Normals(r, count*embd, .3), synth.Normals(r, count*ff*embd, .2), synth.Normals(r, count*ff*embd, .2), synth.Normals(r, count*embd*ff, .2)
	x := synth.Normals(r, n*embd, 1)
	want := make([]float64, n*embd)
	for i := range n {
		row := x[i*embd:][:embd]
		score := product(row, router, 1, count, embd)
		order := []int{0, 1, 2, 3, 4}
		slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, score[b]-score[a])) })
		sum := 0.0
		for _, e := range order[:used] {
			sum += math.Exp(score[e])
		}
		for _, e := range order[:used] {
			g, u := product(row, gate[e*ff*embd:], 1, ff, embd), product(row, up[e*ff*embd:], 1, ff, embd)
			hidden := make([]float32, ff)
			for j := range hidden {
				hidden[j] = float32(g[j] / (1 + math.Exp(-g[j])) * u[j])
			}
			for j, y := range product(hidden, down[e*embd*ff:], 1, embd, ff) {
				want[i*embd+j] += math.Exp(score[e]) / sum * y
			}
		}
	}
	shape3 := func(x []float32, cols, rows int) backend.Weight {
		return uploadBytes(t, b, gguf.F32, gguf.Quantize(gguf.F32, x), cols, rows, count)
	}
	out := b.Alloc(n, embd)
	b.Experts(out, tensor(t, b, x, embd), &backend.Experts{
		Router: upload(t, b, gguf.F32, router, embd),
		Gate:   shape3(gate, embd, ff), Up: shape3(up, embd, ff), Down: shape3(down, ff, embd), Count: count, Used: used,
	})
	near(t, "experts", read(t, b, out), want, 1e-4)
}

func (c Config) argMax(t *testing.T) {
	b := c.New(t)
	x := make([]float32, 3*1000)
	x[17], x[18] = 2, 2             // the lower of equals
	x[1999] = 1                     // the last column
	copy(x[2000:], []float32{5, 4}) // the first
	for i := range 998 {
		x[2002+i] = -1
	}
	got := make([]int32, 3)
	if err := b.ArgMax(got, tensor(t, b, x, 1000)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []int32{17, 999, 0}) {
		t.Fatalf("arg max %v, want [17 999 0]", got)
	}
}
