package cpu_test

import (
	"testing"

	"mustafar/backend"
	"mustafar/backend/conformance"
	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/sparse"
)

// suite is the conformance suite of a SIMD level.
func suite(level string, f32 bool) conformance.Config {
	c := conformance.Config{
		New: func(t *testing.T) backend.Backend {
			b, err := cpu.New(cpu.Options{Level: level, F32: f32, Threads: 3})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			return b
		},
		Types:    gguf.Types(),
		MatMul:   0.05, // the worst of thousands of products; their RMS error is below 0.01
		HeadDims: []int{64, 128, 256},
		Codecs:   conformance.AllCodecs,
		Attend:   attendError(level),
	}
	if f32 {
		c.MatMul = 1e-4
	}
	return c
}

// TestConformance runs the suite of all backends at every SIMD level of this machine, and products with f32 activations too.
func TestConformance(t *testing.T) {
	for _, level := range cpu.Levels() {
		t.Run(level, func(t *testing.T) { conformance.Run(t, suite(level, false)) })
		t.Run(level+"/f32", suite(level, true).Ops)
	}
}

// attendError is the worst error of an output: f32 sums, and, where kernels multiply rows of 8 and 16 bits as integers, the rounding of queries and
// weights to as many.
func attendError(level string) func(sparse.Codec) float64 {
	return func(c sparse.Codec) float64 {
		switch {
		case level != "avx512" || c.Values == sparse.F16:
			return 1e-4
		case c.Values == sparse.I16:
			return 3e-3
		default:
			return 6e-2
		}
	}
}
