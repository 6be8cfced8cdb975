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
			half := gguf.Quantize(gguf.F16, a)
			near("dotHalf", k.dotHalf(half, b), dotHalfGeneric(half, b))
			bf := gguf.Quantize(gguf.BF16, a)
			near("dotBF16", k.dotBF16(bf, b), dotBF16Generic(bf, b))

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

// Quantised activations are the same to the bit at every level: decode may not depend on it.
func TestQuantise(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		r := rand.New(rand.NewPCG(3, 4))
		x := floats32(r, 32*20)
		clear(x[32:64])             // a group of zeros
		x[64], x[65] = 3e38, -3e38  // large
		x[100], x[101] = 1e-38, 0   // small
		for i := range x[128:160] { // halves: q = ±0.5, 1.5, … round to even
			x[128+i] = float32(i) + 0.5
		}
		x[159] = 127
		q, ds := make([]int8, len(x)), make([]float32, len(x)/16)
		qw, dsw := slices.Clone(q), slices.Clone(ds)
		k.quantise(q, ds, x)
		quantiseGeneric(qw, dsw, x)
		if !slices.Equal(q, qw) || !slices.Equal(ds, dsw) {
			t.Errorf("differs:\n%v\n%v", ds, dsw)
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

// Products of quantised rows with quantised activations, against the unpacked row: only the order of f32 sums differs.
func TestDotQ(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *kernels) {
		r := rand.New(rand.NewPCG(7, 8))
		for typ, dot := range k.dotQ {
			for _, blocks := range []int{1, 2, 3, 18, 48} {
				cols := 32 * blocks
				w := &weight{typ: typ, rows: 1, cols: cols, rowBytes: typ.RowBytes(cols), data: gguf.Quantize(typ, floats32(r, cols))}
				q, ds := make([]int8, cols), make([]float32, 2*blocks)
				k.quantise(q, ds, floats32(r, cols))
				u, d, m, group := w.unpackRow(0, &scratch{})
				got, want := dot(w.row(0), q, ds), dotUnpacked(u, d, m, group, q, ds)
				if math.Abs(float64(got-want)) > 2e-5*math.Sqrt(float64(cols)) {
					t.Errorf("%v of %d: %g, want %g", typ, cols, got, want)
				}
			}
		}
	})
}
