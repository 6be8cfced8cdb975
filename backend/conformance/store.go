package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/x448/float16"

	"mustafar/backend"
	"mustafar/gguf/synth"
	"mustafar/sparse"
)

// shadow is a store that keeps every row as f32 and does each operation in the plainest way.
type shadow struct {
	spec backend.StoreSpec
	seqs map[int]*shadowSeq
}

type shadowSeq struct {
	k, v   [][]float32 // a token: what its row reads back as, (kv heads · head dim)
	packed int
}

func newShadow(s backend.StoreSpec) *shadow { return &shadow{s, map[int]*shadowSeq{}} }

func (s *shadow) seq(i int) *shadowSeq {
	if s.seqs[i] == nil {
		s.seqs[i] = &shadowSeq{}
	}
	return s.seqs[i]
}

func half(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float16.Fromfloat32(v).Float32()
	}
	return y
}

func (s *shadow) append(runs []backend.Run, k, v []float32) {
	cols := s.spec.KVHeads * s.spec.HeadDim
	for _, r := range runs {
		q := s.seq(r.Seq)
		for i := range r.N {
			q.k = append(q.k, half(k[(r.Row+i)*cols:][:cols]))
			q.v = append(q.v, half(v[(r.Row+i)*cols:][:cols]))
		}
	}
}

func (s *shadow) compress(seq, n int) {
	q := s.seq(seq)
	first := min(s.spec.Sinks, len(q.k)) + q.packed
	for t := first; t < first+n; t++ {
		q.k[t] = reread(s.spec.K, s.spec.HeadDim, q.k[t])
		q.v[t] = reread(s.spec.V, s.spec.HeadDim, q.v[t])
	}
	q.packed += n
}

// reread returns what a row reads back as once compressed.
func reread(c sparse.Codec, headDim int, row []float32) []float32 {
	out := make([]float32, len(row))
	for h := 0; h < len(row); h += headDim {
		x := make([]uint16, headDim)
		for i := range x {
			x[i] = float16.Fromfloat32(row[h+i]).Bits()
		}
		r := sparse.NewRows(c, headDim, 1)
		r.Compress(0, x)
		r.Expand(out[h:], 0)
	}
	return out
}

func (s *shadow) truncate(seq, n int) {
	q := s.seq(seq)
	q.k, q.v = q.k[:n], q.v[:n]
	q.packed = max(0, min(q.packed, n-s.spec.Sinks))
}

func (s *shadow) fork(dst, src, n int) {
	q := s.seq(src)
	s.seqs[dst] = &shadowSeq{slices.Clone(q.k), slices.Clone(q.v), q.packed}
	s.truncate(dst, n)
}

func (s *shadow) attend(q []float32, rows int, runs []backend.Run) []float64 {
	D, g := s.spec.HeadDim, s.spec.Heads/s.spec.KVHeads
	out := make([]float64, rows*s.spec.Heads*D)
	o := make([]float32, D)
	for _, r := range runs {
		past := s.seq(r.Seq)
		for i := range r.N {
			for h := range s.spec.Heads {
				at := ((r.Row+i)*s.spec.Heads + h) * D
				row := func(x [][]float32) func([]float32, int) {
					return func(dst []float32, t int) { copy(dst, x[t][h/g*D:][:D]) }
				}
				sparse.Attend(o, q[at:][:D], r.Pos+i+1, float32(1/math.Sqrt(float64(D))), row(past.k), row(past.v))
				copy(out[at:], wide(o))
			}
		}
	}
	return out
}

// rig drives a store and its shadow alike.
type rig struct {
	t      *testing.T
	b      backend.Backend
	st     backend.Store
	shadow *shadow
	r      *rand.Rand
	tol    float64
}

func (c Config) rig(t *testing.T, spec backend.StoreSpec) *rig {
	b := c.New(t)
	return &rig{t, b, b.NewStore(spec), newShadow(spec), rng(), max(c.Attend(spec.K), c.Attend(spec.V))}
}

func spec(k, v sparse.Codec, heads, kvHeads, headDim int) backend.StoreSpec {
	return backend.StoreSpec{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, K: k, V: v, Sinks: 4, Group: 128}
}

// batch makes runs of random rows: n[i] rows for seqs[i].
func (g *rig) batch(step bool, seqs []int, n []int) (runs []backend.Run, q, k, v []float32) {
	s, rows := g.shadow.spec, 0
	for i, seq := range seqs {
		runs = append(runs, backend.Run{Seq: seq, Row: rows, N: n[i], Pos: g.st.Len(seq), Step: step})
		rows += n[i]
	}
	// queries with scores of about 2: weights that differ, none that rules
	return runs, synth.Normals(g.r, rows*s.Heads*s.HeadDim, 4/math.Sqrt(float64(s.HeadDim))), synth.Normals(g.r, rows*s.KVHeads*s.HeadDim, 1), synth.Normals(g.r, rows*s.KVHeads*s.HeadDim, 1)
}

// pass appends and attends, and compares with the shadow; it returns the output.
func (g *rig) pass(step bool, seqs []int, n []int) []float32 {
	g.t.Helper()
	runs, q, k, v := g.batch(step, seqs, n)
	out := g.run(runs, q, k, v)
	g.shadow.append(runs, k, v)
	near(g.t, "attention", out, g.shadow.attend(q, len(out)/(g.shadow.spec.Heads*g.shadow.spec.HeadDim), runs), g.tol)
	return out
}

// run appends and attends.
func (g *rig) run(runs []backend.Run, q, k, v []float32) []float32 {
	g.t.Helper()
	s := g.shadow.spec
	kt, vt, qt := tensor(g.t, g.b, k, s.KVHeads*s.HeadDim), tensor(g.t, g.b, v, s.KVHeads*s.HeadDim), tensor(g.t, g.b, q, s.Heads*s.HeadDim)
	out := g.b.Alloc(qt.Rows, qt.Cols)
	g.st.Append(runs, kt, vt)
	g.st.Attend(out, qt, runs)
	return read(g.t, g.b, out)
}

func (g *rig) compress(seq, n int) {
	g.st.Compress(seq, n)
	g.shadow.compress(seq, n)
}

// groups are query and KV heads: every number of query heads a KV head that kernels may treat apart.
var groups = []struct{ q, kv int }{{9, 3}, {2, 2}, {4, 1}, {16, 2}, {16, 1}}

// attend: every head dimension with every codec, and with every grouping of heads; prompt, then steps over sinks, packed and dense rows.
func (c Config) attend(t *testing.T) {
	for _, D := range c.HeadDims {
		for i, codec := range c.Codecs {
			for j, heads := range groups {
				if i != 0 && j != i%len(groups) && codec != sparse.Sparse(0.5, sparse.I8) {
					continue
				}
				t.Run(fmt.Sprintf("D%d/%v/%d:%d", D, codec, heads.q, heads.kv), func(t *testing.T) {
					g := c.rig(t, spec(codec, codec, heads.q, heads.kv, D))
					g.pass(false, []int{0}, []int{4 + 128 + 30})
					g.compress(0, 128)
					g.pass(true, []int{0}, []int{1})
					g.pass(false, []int{0}, []int{19})
					g.pass(true, []int{0}, []int{1})
				})
			}
		}
	}
	t.Run("K and V apart", func(t *testing.T) {
		g := c.rig(t, spec(sparse.Sparse(0.5, sparse.I8), sparse.Dense, 4, 2, 64))
		g.pass(false, []int{0}, []int{200})
		g.compress(0, 128)
		g.pass(true, []int{0}, []int{1})
	})
	t.Run("long", func(t *testing.T) { // several segments and parts
		g := c.rig(t, spec(c.Codecs[len(c.Codecs)-1], sparse.Sparse(0.5, sparse.I8), 2, 1, 64))
		g.pass(false, []int{0}, []int{1190})
		for range 9 {
			g.compress(0, 128)
		}
		g.pass(true, []int{0}, []int{1})
	})
}

// operations: a random life of several sequences against the shadow.
func (c Config) operations(t *testing.T) {
	for _, codec := range []sparse.Codec{sparse.Dense, sparse.Sparse(0.5, sparse.F16), sparse.Sparse(0.7, sparse.I8)} {
		if !slices.Contains(c.Codecs, codec) {
			continue
		}
		t.Run(codec.String(), func(t *testing.T) {
			g := c.rig(t, spec(codec, codec, 4, 2, 64))
			next := 3
			for range 120 {
				seq := g.r.IntN(3)
				n, tail := g.st.Len(seq), 0
				if n > 4 {
					tail = n - 4 - g.st.Packed(seq)
				}
				switch g.r.IntN(6) {
				case 0:
					g.pass(false, []int{seq}, []int{1 + g.r.IntN(90)})
				case 1:
					g.pass(true, []int{0, 1, 2}, []int{1, 1, 1})
				case 2:
					if tail >= 128 {
						g.compress(seq, 128)
					}
				case 3:
					if tail > 0 && tail <= 128 && g.r.IntN(4) == 0 {
						g.compress(seq, tail) // as an interrupted prompt is levelled
					}
				case 4:
					if n > 0 {
						n = n - g.r.IntN(min(n, 100))
						g.st.Truncate(seq, n)
						g.shadow.truncate(seq, n)
					}
				case 5: // a fork takes the place of its source
					if n > 0 {
						n = n - g.r.IntN(min(n, 90))
						g.st.Fork(next, seq, n)
						g.shadow.fork(next, seq, n)
						if g.r.IntN(2) == 0 { // the source goes on, and must not disturb the fork
							g.pass(false, []int{seq}, []int{1 + g.r.IntN(70)})
						}
						g.pass(false, []int{next}, []int{3})
						g.st.Drop(seq)
						delete(g.shadow.seqs, seq)
						m := g.st.Len(next)
						g.st.Fork(seq, next, m)
						g.shadow.fork(seq, next, m)
						g.st.Drop(next)
						delete(g.shadow.seqs, next)
						next++
					}
				}
				for i := range 3 {
					if q := g.shadow.seq(i); g.st.Len(i) != len(q.k) || g.st.Packed(i) != q.packed {
						t.Fatalf("sequence %d: %d rows, %d packed, want %d, %d", i, g.st.Len(i), g.st.Packed(i), len(q.k), q.packed)
					}
				}
				if got, want := g.st.Bytes(), g.shadow.bytes(); got != want {
					t.Fatalf("%d bytes, want %d", got, want)
				}
			}
			for i := range 3 {
				g.st.Drop(i)
			}
			if g.st.Bytes() != 0 || g.st.Allocated() != 0 {
				t.Fatalf("all sequences dropped: %d bytes, %d allocated, want none", g.st.Bytes(), g.st.Allocated())
			}
		})
	}
}

// bytes of sequences that share nothing, by the codecs' formula.
func (s *shadow) bytes() (n int64) {
	for _, q := range s.seqs {
		n += int64(q.packed*s.spec.PackedRowBytes() + (len(q.k)-q.packed)*s.spec.DenseRowBytes())
	}
	return n
}

// decodeAlone: a step's output is the same to the bit alone and beside 2 and 7 others, of other lengths, and beside a prompt.
func (c Config) decodeAlone(t *testing.T) {
	for _, codec := range []sparse.Codec{sparse.Dense, sparse.Sparse(0.5, sparse.I8)} {
		for _, beside := range []int{1, 3, 8} {
			g := c.rig(t, spec(codec, codec, 6, 2, 64))
			runs, q, k, v := g.batch(false, []int{0}, []int{290})
			g.run(runs, q, k, v)
			g.st.Compress(0, 128)
			_, q, k, v = g.batch(true, []int{0}, []int{1})
			g.st.Fork(100, 0, 290)
			one := []backend.Run{{Seq: 100, N: 1, Pos: 290, Step: true}}
			want := g.run(one, q, k, v)

			seqs, n := []int{0}, []int{1}
			for i := 1; i < beside; i++ {
				g.pass(false, []int{i}, []int{40 * i})
				seqs, n = append(seqs, i), append(n, 1)
			}
			runs, q2, k2, v2 := g.batch(true, seqs, n)
			copy(q2, q)
			copy(k2, k)
			copy(v2, v)
			if beside == 8 { // the last one is a prompt
				runs[7].Step = false
			}
			same(t, codec.String()+" beside others", g.run(runs, q2, k2, v2)[:len(want)], want)
		}
	}
}

// prefillChunks: a prompt's outputs are the same to the bit however it is cut.
func (c Config) prefillChunks(t *testing.T) {
	const total = 333
	for _, codec := range []sparse.Codec{sparse.Dense, sparse.Sparse(0.5, sparse.I8)} {
		g := c.rig(t, spec(codec, codec, 6, 2, 64))
		g.pass(false, []int{0}, []int{200})
		g.compress(0, 128)
		runs, q, k, v := g.batch(false, []int{0}, []int{total})
		g.st.Fork(1, 0, 200)
		want := g.run(runs, q, k, v)
		sq, sk := 6*64, 2*64
		for at, n := 0, 0; at < total; at += n {
			n = min([]int{1, 50, 64, 3, 128}[at%5], total-at)
			run := []backend.Run{{Seq: 1, N: n, Pos: 200 + at}}
			got := g.run(run, q[at*sq:][:n*sq], k[at*sk:][:n*sk], v[at*sk:][:n*sk])
			same(t, codec.String()+" in chunks", got, want[at*sq:][:n*sq])
		}
	}
}

// forkExact: a fork gives, to the bit, what its source gives, and what the source gives later does not depend on the fork.
func (c Config) forkExact(t *testing.T) {
	codec := sparse.Sparse(0.5, sparse.I8)
	g := c.rig(t, spec(codec, codec, 6, 2, 64))
	g.pass(false, []int{0}, []int{300})
	g.compress(0, 128)
	g.st.Fork(1, 0, 300)
	for i := range 400 {
		_, q, k, v := g.batch(true, []int{0}, []int{1})
		a := g.run([]backend.Run{{Seq: 0, N: 1, Pos: 300 + i, Step: true}}, q, k, v)
		b := g.run([]backend.Run{{Seq: 1, N: 1, Pos: 300 + i, Step: true}}, q, k, v)
		same(t, "fork", b, a)
		if i%128 == 127 {
			g.st.Compress(0, 128)
			g.st.Compress(1, 128)
		}
	}
}

// bytes of shared rows are counted once.
func (c Config) bytes(t *testing.T) {
	codec := sparse.Sparse(0.7, sparse.I8)
	g := c.rig(t, spec(codec, codec, 2, 2, 64))
	g.pass(false, []int{0}, []int{4 + 128 + 70})
	g.compress(0, 128)
	s := g.shadow.spec
	packed, dense := int64(s.PackedRowBytes()), int64(s.DenseRowBytes())
	want := 128*packed + 74*dense
	check := func(what string) {
		t.Helper()
		if got := g.st.Bytes(); got != want {
			t.Fatalf("%s: %d bytes, want %d", what, got, want)
		}
	}
	check("one sequence")
	g.st.Fork(1, 0, 202)
	check("a fork that shares all")
	g.pass(true, []int{0}, []int{1})
	want += 7 * dense // the last dense block, of 6 rows, is copied and grows
	check("the source went on")
	g.st.Drop(0)
	want = 128*packed + 74*dense
	check("only the fork is left")
	g.st.Fork(2, 1, 100)
	check("a fork that is cut")
	g.st.Drop(1)
	want = 96*packed + 4*dense
	check("only the cut one is left")
}
