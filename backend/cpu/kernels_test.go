package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mustafar/gguf"
	"mustafar/gguf/synth"
)

// eachLevel runs a test at every SIMD level of this machine.
func eachLevel(t *testing.T, test func(t *testing.T, k *kernels)) {
	for _, k := range levels {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

func floats32(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// Lengths around every unrolling.
var lengths = []int{1, 15, 16, 17, 31, 32, 63, 64, 65, 128, 200, 576}

func TestFloatKernels(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range lengths {
			a, b := floats32(r, n), floats32(r, n)
			near := func(what string, got, want float32) {
				t.Helper()
				if math.Abs(float64(got-want)) > 1e-5*math.Sqrt(float64(n)) {
					t.Errorf("%s of %d: %g, want %g", what, n, got, want)
				}
			}
			near("dot", k.dot(a, b), dotGeneric(a, b))

			y, want := slices.Clone(b), slices.Clone(b)
			k.axpy(y, 1.5, a)
			axpyGeneric(want, 1.5, a)
			for i := range y {
				near("axpy", y[i], want[i])
			}
			h, hw := make([]uint16, n), make([]uint16, n)
			k.toHalves(h, a)
			toHalvesGeneric(hw, a)
			if !slices.Equal(h, hw) {
				t.Errorf("toHalves of %d differs", n)
			}
			f, fw := make([]float32, n), make([]float32, n)
			k.halves(f, h)
			halvesGeneric(fw, h)
			if !slices.Equal(f, fw) {
				t.Errorf("halves of %d differs", n)
			}
		}
	})
}

// Activations are rounded to the same bits at every level, in panels of every size.
func TestQuantise(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		if k.quantise == nil {
			return // the twin itself
		}
		r := rand.New(rand.NewPCG(3, 4))
		x := floats32(r, 32*20)
		clear(x[32:64])             // a group of zeros
		x[64], x[65] = 3e38, -3e38  // large
		x[100], x[101] = 1e-38, 0   // small
		for i := range x[128:160] { // halves: q = ±0.5, 1.5, … round to even
			x[128+i] = float32(i) + 0.5
		}
		x[159] = 127
		for _, m := range []int{1, 4, 8, 16} {
			got, want := panel{make([]byte, panelBytes(m, len(x))), m}, panel{make([]byte, panelBytes(m, len(x))), m}
			for i := range m {
				k.quantise(got, i, x)
				quantiseGeneric(want, i, x)
			}
			if !slices.Equal(got.data, want.data) {
				t.Errorf("panel of %d rows differs", m)
			}
		}
	})
}

// A row unpacked is what gguf dequantises.
func TestUnpack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for typ, p := range unpackers {
		size := typ.BlockSize()
		data := synth.Blocks(r, typ, 50, 1)
		if typ == gguf.Q4_0 || typ == gguf.Q4_1 || typ == gguf.Q8_0 {
			data = gguf.Quantize(typ, floats32(r, 50*size))
		}
		want := make([]float32, 50*size)
		gguf.Dequantize(want, typ, data)
		w := &weight{typ: typ, rows: 50, cols: size, rowBytes: typ.BlockBytes(), data: data}
		for i := range w.rows {
			u, d, m, group := w.unpackRow(i, &scratch{})
			if group != p.group {
				t.Fatalf("%v: groups of %d, want %d", typ, group, p.group)
			}
			for c, q := range u {
				got, want := d[c/group]*float32(q)+m[c/group], want[i*size+c]
				if math.Abs(float64(got-want)) > 1e-5*float64(max(1, 256*float32(math.Abs(float64(d[c/group]))))) {
					t.Fatalf("%v block %d column %d: %g, want %g", typ, i, c, got, want)
				}
			}
		}
	}
}

// A packed matrix times rows of activations, against rows as the file holds them: only the order of f32 sums differs. Rows and columns end inside
// tiles, panels and superblocks' loops.
func TestProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		if !k.packs() {
			return
		}
		for _, f32 := range []bool{false, true} {
			c, err := New(Options{Level: k.name, Threads: 2, F32: f32})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			plain, err := New(Options{Level: "generic", F32: f32})
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			for _, noRepack := range []bool{false, true} {
				c.opt.NoRepack = noRepack
				r := rand.New(rand.NewPCG(7, 8))
				for _, typ := range gguf.Types() {
					for _, rows := range []int{16, 70} {
						cols := 512
						if typ.BlockSize() < 256 {
							cols += 96
						}
						tensor := gguf.Tensor{Name: "w", Type: typ, Shape: []int{cols, rows}, Data: synth.Rows(r, typ, cols, rows, 1)}
						w, err := c.Upload(tensor)
						if err != nil {
							t.Fatal(err)
						}
						pw, err := plain.Upload(tensor)
						if err != nil {
							t.Fatal(err)
						}
						for _, n := range []int{1, 2, 4, 5, 17, 33} {
							x := floats32(r, n*cols)
							got, want := make([]float32, n*rows), make([]float32, n*rows)
							c.multiply(x, n, product{y: got, w: w.(*weight)})
							plain.multiply(x, n, product{y: want, w: pw.(*weight)})
							for i := range want {
								if d := math.Abs(float64(got[i] - want[i])); d > 3e-4*math.Sqrt(float64(cols)) || math.IsNaN(d) {
									t.Fatalf("%v, %d×%d, %d rows of activations, f32 %v, in place %v: %g at %d, want %g", typ, rows, cols, n, f32, noRepack, got[i], i, want[i])
								}
							}
						}
					}
				}
			}
		}
	})
}

// What is packed is what the file holds: unpacked again, quants, scales and minima are those of the rows, to the bit where the level keeps them apart.
func TestUnpackTile(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		r := rand.New(rand.NewPCG(9, 10))
		for typ := range k.matrices {
			cols := 512
			w := &weight{typ: typ, rows: tileRows, cols: cols, rowBytes: typ.RowBytes(cols), data: synth.Rows(r, typ, cols, tileRows, 1), parts: 1}
			tile := make([]byte, tileBytes(typ, cols))
			packTile(tile, w, 0, &scratch{})
			columns := make([]byte, 4*tileRows*cols)
			k.matrices[typ].floats(&columns[0], &tile[0], cols/max(32, typ.BlockSize()))
			f := asFloats(columns)
			for row := range tileRows {
				u, d, m, group := w.unpackRow(row, &scratch{})
				for c := range cols {
					want := d[c/group]*float32(u[c]) + m[c/group]
					if got := f[c*tileRows+row]; math.Abs(float64(got-want)) > 2e-5*float64(1+256*float32(math.Abs(float64(d[c/group])))) {
						t.Fatalf("%v row %d column %d: %g, want %g", typ, row, c, got, want)
					}
				}
			}
		}
	})
}
