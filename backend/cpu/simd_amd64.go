//go:build !noasm

package cpu

//go:generate sh -c "cd _generate && for p in rows weights attention; do go run . -part $DOLLAR{p} -out ../$DOLLAR{p}_amd64.s -stubs ../$DOLLAR{p}_amd64.go -pkg cpu || exit 1; done"

import "golang.org/x/sys/cpu"

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
	expand:    expandersAVX512,
	choose:    choosersAVX512,
	pack:      packersAVX512,
	rows:      rowsAVX512,
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
	expand:    expandersAVX2,
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
	q, dx, _, _, _ := p.row(i, 0)
	quantiseAVX2(&q[0], dx, &x[0], len(x)/32, 48*p.m, 4*p.m)
}
