//go:build !noasm

package cpu

//go:generate sh -c "cd _generate && for p in rows weights attention; do go run . -part $DOLLAR{p} -out ../$DOLLAR{p}_amd64.s -stubs ../$DOLLAR{p}_amd64.go -pkg cpu || exit 1; done"

import (
	"golang.org/x/sys/cpu"

	"mustafar/sparse"
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
	name:      "avx512",
	dot:       dotBy(dotAVX512),
	axpy:      axpyBy(axpyAVX512),
	scaleBy:   scaleByBy(scaleByAVX512),
	swiglu:    threeBy(swigluAVX512, swigluGeneric),
	rope:      threeBy(ropeAVX512, ropeGeneric),
	halves:    convert(halvesAVX512, halvesGeneric),
	toHalves:  convert(toHalvesAVX512, toHalvesGeneric),
	quantise:  quantiseSIMD,
	matrices:  matricesAVX512,
	floats:    floatsAVX512,
	adders:    addersAVX512,
	softmax:   softmaxAVX512,
	choose:    chooseAt512,
	pack:      packAt512,
	expand:    expandAt512,
	rows:      rowsAVX512,
	rowDots:   rowDotsAVX2,
	rowSums:   rowSumsAVX2,
	transpose: transposeAVX2,
}

var avx2 = kernels{
	name:      "avx2",
	dot:       dotBy(dotAVX2),
	axpy:      axpyBy(axpyAVX2),
	scaleBy:   scaleByBy(scaleByAVX2),
	swiglu:    threeBy(swigluAVX2, swigluGeneric),
	rope:      threeBy(ropeAVX2, ropeGeneric),
	halves:    convert(halvesAVX2, halvesGeneric),
	toHalves:  convert(toHalvesAVX2, toHalvesGeneric),
	quantise:  quantiseSIMD,
	matrices:  matricesAVX2,
	floats:    floatsAVX2,
	adders:    addersAVX2,
	softmax:   softmaxAVX2,
	transpose: transposeAVX2,
	choose:    chooseAt2,
	pack:      packAt2,
	expand:    expandAt2,
	rowDots:   rowDotsAVX2,
	rowSums:   rowSumsAVX2,
}

// The functions below give the assembly Go's shapes: slices, and a plain loop for what is left of a whole number of rounds.

func dotBy(asm func(a, b *float32, n int) float32) func(a, b []float32) float32 {
	return func(a, b []float32) float32 {
		n := len(a) &^ 63
		sum := dotGeneric(a[n:], b[n:])
		if n > 0 {
			sum += asm(&a[0], &b[:n][0], n)
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

func scaleByBy(asm func(y, x, w *float32, scale float32, n int)) func(y, x, w []float32, scale float32) {
	return func(y, x, w []float32, scale float32) {
		n := len(y) &^ 15
		scaleByGeneric(y[n:], x[n:], w[n:], scale)
		if n > 0 {
			asm(&y[0], &x[0], &w[0], scale, n)
		}
	}
}

func threeBy(asm func(y, a, b *float32, n int), twin func(y, a, b []float32)) func(y, a, b []float32) {
	return func(y, a, b []float32) {
		n := len(y) &^ 15
		twin(y[n:], a[n:], b[n:])
		if n > 0 {
			asm(&y[0], &a[0], &b[0], n)
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

func quantiseSIMD(p panel, i int, x []float32) {
	q, scales := p.row(i, 0)
	quantiseAVX2(&q[0], &scales[0], &x[0], len(x)/32, panelBlock*p.m, 4*p.m)
}

// AVX-512 has row kernels for the common head dimensions; AVX2's take any.

func chooseAt512(D int) chooseFunc {
	if choose := choosersAVX512[D]; choose != nil {
		return func(x *uint16, bitmaps *uint64, rows, keep int) { choose(x, bitmaps, (rows+3)/4, keep) }
	}
	return chooseAt2(D)
}

func chooseAt2(D int) chooseFunc {
	return func(x *uint16, bitmaps *uint64, rows, keep int) { chooseAVX2(x, bitmaps, rows, keep, D/64) }
}

func packAt512(v sparse.Values, D int) packFunc {
	if pack := packersAVX512[v][D]; pack != nil {
		return pack
	}
	return packAt2(v, D)
}

// packAnyFunc is a packFunc for rows of any number of words.
type packAnyFunc = func(x *uint16, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, bitmapBytes int, tmp *byte, words int)

func packAt2(v sparse.Values, D int) packFunc {
	pack := packersAVX2[v]
	return func(x *uint16, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, bitmapBytes int, tmp *byte) {
		pack(x, bitmaps, values, scales, rows, rowBytes, bitmapBytes, tmp, D/64)
	}
}

func expandAt512(c sparse.Codec, D int) expandFunc {
	if expand := expandersAVX512[c][D]; expand != nil {
		return expand
	}
	return expandersAVX2[c]
}

func expandAt2(c sparse.Codec, _ int) expandFunc { return expandersAVX2[c] }
