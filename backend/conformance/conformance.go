// Package conformance is the suite of tests that every backend passes: each operation against plain float64 arithmetic, the stores against a shadow
// that keeps every row, and the promises of package backend: what may not depend on neighbours, chunks, threads or forks does not, to the bit.
package conformance

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"mustafar/backend"
	"mustafar/gguf"
	"mustafar/sparse"
)

// Config says what is tested and how near results must come.
type Config struct {
	New func(t *testing.T) backend.Backend

	// Types are the weight types that the backend takes; MatMul is the error of a product with random activations that it may have, relative to the
	// product's RMS: 1e-5 where activations stay f32, about 0.01 where they are rounded to int8.
	Types  []gguf.Type
	MatMul float64

	// HeadDims and Codecs of the stores; Attend is the error of an output that a codec's kernels may add, relative to the outputs' RMS.
	HeadDims []int
	Codecs   []sparse.Codec
	Attend   func(sparse.Codec) float64
}

// AllCodecs are the codecs that DESIGN gives the CPU.
var AllCodecs = []sparse.Codec{
	sparse.Dense, {Values: sparse.I16}, {Values: sparse.I8},
	sparse.Sparse(0.5, sparse.F16), sparse.Sparse(0.7, sparse.F16), sparse.Sparse(0.5, sparse.I16),
	sparse.Sparse(0.5, sparse.I8), sparse.Sparse(0.7, sparse.I8), sparse.Sparse(0.5, sparse.I4), sparse.Sparse(0.7, sparse.I4),
	sparse.Sparse(0, sparse.F16), sparse.Sparse(0.99, sparse.I8),
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	t.Run("ops", c.Ops)
	t.Run("store", c.Stores)
}

// Ops runs the tests of the operations on activations.
func (c Config) Ops(t *testing.T) {
	t.Run("embed", c.embed)
	t.Run("rmsnorm", c.rmsNorm)
	t.Run("matmul", c.matMul)
	t.Run("matmul/rows alone", c.matMulRows)
	t.Run("rope", c.rope)
	t.Run("swiglu and add", c.elementwise)
	t.Run("experts", c.experts)
	t.Run("argmax", c.argMax)
}

// Stores runs the tests of K and V stores.
func (c Config) Stores(t *testing.T) {
	t.Run("attend", c.attend)
	t.Run("operations", c.operations)
	t.Run("decode alone", c.decodeAlone)
	t.Run("prefill chunks", c.prefillChunks)
	t.Run("fork", c.forkExact)
	t.Run("bytes", c.bytes)
}

// rng is seeded, so that a failure comes again.
func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// tensor puts x on the backend through the only way in: rows of an embedding.
func tensor(t *testing.T, b backend.Backend, x []float32, cols int) backend.Tensor {
	t.Helper()
	rows := len(x) / cols
	out := b.Alloc(rows, cols)
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i)
	}
	w, err := b.Table(gguf.Tensor{Name: "x", Type: gguf.F32, Shape: []int{cols, rows}, Data: aligned(gguf.Quantize(gguf.F32, x))})
	if err != nil {
		t.Fatal(err)
	}
	b.Embed(out, w, ids)
	return out
}

// upload makes a weight of a type from f32 values.
func upload(t *testing.T, b backend.Backend, typ gguf.Type, x []float32, cols int) backend.Weight {
	t.Helper()
	return uploadBytes(t, b, typ, gguf.Quantize(typ, x), cols, len(x)/cols)
}

func uploadBytes(t *testing.T, b backend.Backend, typ gguf.Type, data []byte, shape ...int) backend.Weight {
	t.Helper()
	w, err := b.Upload(gguf.Tensor{Name: "w", Type: typ, Shape: shape, Data: aligned(data)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// aligned copies data to where a file would have it: at a multiple of 32 bytes, with a page of other bytes behind.
func aligned(data []byte) []byte {
	b := make([]byte, len(data)+32+4096)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & 31)
	copy(b[off:], data)
	return b[off:][:len(data):len(data)]
}

func read(t *testing.T, b backend.Backend, x backend.Tensor) []float32 {
	t.Helper()
	y := make([]float32, x.Rows*x.Cols)
	if err := b.Read(y, x); err != nil {
		t.Fatal(err)
	}
	return y
}

// near fails unless got is within tolerance of want, relative to want's RMS.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	var worst, square float64
	at := 0
	for i, w := range want {
		square += w * w
		if d := math.Abs(float64(got[i]) - w); d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
		if math.IsNaN(float64(got[i])) {
			t.Fatalf("%s: NaN at %d", what, i)
		}
	}
	if rms := math.Sqrt(square / float64(len(want))); worst > tolerance*rms {
		t.Errorf("%s: %g at %d, want %g: off by %.2g of the RMS %.3g, want at most %.2g", what, got[at], at, want[at], worst/rms, rms, tolerance)
	}
}

// same fails unless got is want to the bit.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: %g at %d, want %g to the bit", what, got[i], i, want[i])
		}
	}
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
