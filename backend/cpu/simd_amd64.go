//go:build !noasm

package cpu

//go:generate sh -c "cd _generate && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg cpu"

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"mustafar/gguf"
)

// simdLevels returns what this processor can run, the best first.
func simdLevels() (have []*kernels) {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ && x.HasAVX512VNNI && x.HasAVX512VBMI && x.HasAVX512VBMI2 {
		have = append(have, &avx512)
	}
	if x.HasAVX2 && x.HasFMA && x.HasBMI2 && x.HasF16C {
		have = append(have, &avx2)
	}
	return have
}

var avx512 = kernels{
	name:     "avx512",
	dot:      dotFloats(dotAVX512),
	axpy:     axpyBy(axpyAVX512),
	dotHalf:  dotPairs(dotHalfAVX512, dotHalfGeneric),
	dotBF16:  dotPairs(dotBF16AVX512, dotBF16Generic),
	halves:   convert(halvesAVX512, halvesGeneric),
	toHalves: convert(toHalvesAVX512, toHalvesGeneric),
	quantise: quantiseSIMD,
	dotQ: map[gguf.Type]func(w []byte, q []int8, ds []float32) float32{
		gguf.Q4_0: dotBlocks(dotQ4x0AVX512),
		gguf.Q4_1: dotBlocks(dotQ4x1AVX512),
		gguf.Q8_0: dotBlocks(dotQ8x0AVX512),
	},
}

var avx2 = kernels{
	name:     "avx2",
	dot:      dotFloats(dotAVX2),
	axpy:     axpyBy(axpyAVX2),
	dotHalf:  dotPairs(dotHalfAVX2, dotHalfGeneric),
	dotBF16:  dotPairs(dotBF16AVX2, dotBF16Generic),
	halves:   convert(halvesAVX2, halvesGeneric),
	toHalves: convert(toHalvesAVX2, toHalvesGeneric),
	quantise: quantiseSIMD,
	dotQ: map[gguf.Type]func(w []byte, q []int8, ds []float32) float32{
		gguf.Q4_0: dotBlocks(dotQ4x0AVX2),
		gguf.Q4_1: dotBlocks(dotQ4x1AVX2),
		gguf.Q8_0: dotBlocks(dotQ8x0AVX2),
	},
}

// The functions below give the assembly Go's shapes: slices, and a plain loop for what is left of a whole number of rounds.

func dotFloats(asm func(a, b *byte, n int) float32) func(a, b []float32) float32 {
	return func(a, b []float32) float32 {
		n := len(a) &^ 63
		sum := dotGeneric(a[n:], b[n:])
		if n > 0 {
			sum += asm(bytePtr(a), bytePtr(b[:n]), n)
		}
		return sum
	}
}

func dotPairs(asm func(a, b *byte, n int) float32, twin func(w []byte, x []float32) float32) func(w []byte, x []float32) float32 {
	return func(w []byte, x []float32) float32 {
		n := len(x) &^ 63
		sum := twin(w[2*n:], x[n:])
		if n > 0 {
			sum += asm(&w[0], bytePtr(x), n)
		}
		return sum
	}
}

func axpyBy(asm func(y *float32, p float32, x *float32, n int)) func(y []float32, p float32, x []float32) {
	return func(y []float32, p float32, x []float32) {
		n := len(y) &^ 15
		axpyGeneric(y[n:], p, x[n:])
		if n > 0 {
			asm(&y[0], p, &x[:n][0], n)
		}
	}
}

func convert[D, S any](asm func(dst *D, src *S, n int), twin func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		n := len(src) &^ 15
		twin(dst[n:], src[n:])
		if n > 0 {
			asm(&dst[:n][0], &src[0], n)
		}
	}
}

func quantiseSIMD(q []int8, ds []float32, x []float32) {
	if n := len(x) / 32; n > 0 {
		quantiseAVX2(&q[:32*n][0], &ds[:2*n][0], &x[0], n)
	}
}

func dotBlocks(asm func(w *byte, q *int8, ds *float32, blocks int) float32) func(w []byte, q []int8, ds []float32) float32 {
	return func(w []byte, q []int8, ds []float32) float32 {
		return asm(&w[0], &q[0], &ds[0], len(q)/32)
	}
}

func bytePtr(x []float32) *byte { return (*byte)(unsafe.Pointer(&x[0])) }
