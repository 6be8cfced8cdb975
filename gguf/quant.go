package gguf

import (
	"fmt"
	"math"

	"github.com/x448/float16"
)

// Quantize returns src as blocks of typ: F32, F16, BF16, Q8_0, Q4_0 or Q4_1, for tests and synthetic models. The rule
// is ggml's quantize_row_*_ref, byte for byte as the gguf Python package has it; products are rounded before a sum, as
// in Dequantize. Values must be finite, and within float16's range for the types that store one. It panics for another
// type, and unless len(src) is a multiple of the block size.
func Quantize(typ Type, src []float32) []byte {
	dst := make([]byte, 0, typ.RowBytes(len(src)))
	switch typ {
	case F32:
		for _, v := range src {
			dst = le.AppendUint32(dst, math.Float32bits(v))
		}
	case F16:
		for _, v := range src {
			dst = appendHalf(dst, v)
		}
	case BF16:
		for _, v := range src {
			dst = le.AppendUint16(dst, bfloat16(v))
		}
	case Q8_0:
		for ; len(src) > 0; src = src[32:] {
			dst = appendQ8_0(dst, src[:32])
		}
	case Q4_0:
		for ; len(src) > 0; src = src[32:] {
			dst = appendQ4_0(dst, src[:32])
		}
	case Q4_1:
		for ; len(src) > 0; src = src[32:] {
			dst = appendQ4_1(dst, src[:32])
		}
	default:
		panic(fmt.Sprintf("gguf: cannot quantize to %v, want F32 F16 BF16 Q8_0 Q4_0 or Q4_1", typ))
	}
	return dst
}

func appendHalf(dst []byte, v float32) []byte {
	return le.AppendUint16(dst, float16.Fromfloat32(v).Bits())
}

// bfloat16 rounds half to even; a NaN stays one.
func bfloat16(v float32) uint16 {
	n := math.Float32bits(v)
	if v != v {
		return uint16(n>>16) | 64
	}
	return uint16((n + 0x7fff + n>>16&1) >> 16)
}

// appendQ8_0 scales the largest magnitude to 127 and rounds half away from zero.
func appendQ8_0(dst []byte, x []float32) []byte {
	top := float32(0)
	for _, v := range x {
		top = max(top, abs(v))
	}
	d := top / 127
	id := inverse(d)
	dst = appendHalf(dst, d)
	for _, v := range x {
		dst = append(dst, byte(int8(math.Round(float64(v*id)))))
	}
	return dst
}

// appendQ4_0 scales the value of the largest magnitude, the first of equals, to -8.
func appendQ4_0(dst []byte, x []float32) []byte {
	top := x[0]
	for _, v := range x {
		if abs(v) > abs(top) {
			top = v
		}
	}
	d := top / -8
	id := inverse(d)
	dst = appendHalf(dst, d)
	for i := range 16 {
		dst = append(dst, nibble(float32(x[i]*id)+8.5)|nibble(float32(x[i+16]*id)+8.5)<<4)
	}
	return dst
}

// appendQ4_1 scales the smallest value to 0 and the largest to 15.
func appendQ4_1(dst []byte, x []float32) []byte {
	low, high := x[0], x[0]
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	d := (high - low) / 15
	id := inverse(d)
	dst = appendHalf(appendHalf(dst, d), low)
	for i := range 16 {
		dst = append(dst, nibble(float32((x[i]-low)*id)+0.5)|nibble(float32((x[i+16]-low)*id)+0.5)<<4)
	}
	return dst
}

// nibble cuts v off to an integer; rounding may have brought it a little over 15.
func nibble(v float32) byte { return min(15, byte(v)) }

func abs(v float32) float32 { return float32(math.Abs(float64(v))) }

// inverse returns 1/d, and 0 for the scale of a block of zeros.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}
