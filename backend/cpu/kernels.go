package cpu

import (
	"fmt"
	"os"
	"strings"

	"mustafar/gguf"
)

// kernels are the inner loops of one SIMD level. Each has a plain Go twin in the level "generic", and a test that holds the levels together.
type kernels struct {
	name string

	// dot returns Σ a·b; axpy adds p·x to y.
	dot  func(a, b []float32) float32
	axpy func(y []float32, p float32, x []float32)
	// dotHalf returns Σ w·x of fp16 weights, dotBF16 of bf16 ones.
	dotHalf, dotBF16 func(w []byte, x []float32) float32
	// halves converts fp16 to f32, toHalves the other way, half to even.
	halves   func(dst []float32, src []uint16)
	toHalves func(dst []uint16, src []float32)
	// quantise rounds x to int8, absmax/127 per 32, and writes {d, d·Σq} a group of 32.
	quantise func(q []int8, ds []float32, x []float32)
	// dotQ are products of a row as the file holds it with quantised activations, for the types that have a kernel of their own.
	dotQ map[gguf.Type]func(w []byte, q []int8, ds []float32) float32
}

// levels are those that this machine has, the best first; "generic" is always there and last.
var levels = append(simdLevels(), &generic)

var generic = kernels{
	name: "generic",
	dot:  dotGeneric, axpy: axpyGeneric,
	dotHalf: dotHalfGeneric, dotBF16: dotBF16Generic,
	halves: halvesGeneric, toHalves: toHalvesGeneric,
	quantise: quantiseGeneric,
}

// pick returns the kernels of a level by name; empty means what MUSTAFAR_CPU says, else the best.
func pick(name string) (*kernels, error) {
	if name == "" {
		name = os.Getenv("MUSTAFAR_CPU")
	}
	if name == "" {
		return levels[0], nil
	}
	for _, k := range levels {
		if k.name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("cpu: SIMD level %q is not to be had on this machine (have %s)", name, strings.Join(Levels(), ", "))
}

// Levels names the SIMD levels of this machine, the best first.
func Levels() []string {
	names := make([]string, len(levels))
	for i, k := range levels {
		names[i] = k.name
	}
	return names
}
