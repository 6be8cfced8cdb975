package gguf

import (
	"fmt"
	"math"

	"github.com/x448/float16"
)

// Dequantize writes the values of src, whole blocks of typ one after the other, to dst. It is the plain reference that
// faster code is checked against. It panics unless len(dst) is a multiple of the block size and src has exactly its bytes.
//
// Values are the gguf Python package's, bit for bit (a NaN is any NaN), which are ggml's: float32 operations in the order
// written here. A product that goes into a sum is converted to float32, which keeps the compiler from fusing the two into
// one rounding (FMA, on arm64), as it may even across statements.
func Dequantize(dst []float32, typ Type, src []byte) {
	if want := typ.RowBytes(len(dst)); len(src) != want {
		panic(fmt.Sprintf("gguf: %d values of %v take %d bytes, got %d", len(dst), typ, want, len(src)))
	}
	types[typ].dequantize(dst, src)
}

// half reads the float16 at the start of x.
func half(x []byte) float32 { return float16.Frombits(le.Uint16(x)).Float32() }

func dequantizeF32(y []float32, x []byte) {
	for i := range y {
		y[i] = math.Float32frombits(le.Uint32(x[4*i:]))
	}
}

func dequantizeF16(y []float32, x []byte) {
	for i := range y {
		y[i] = half(x[2*i:])
	}
}

// BF16 is the upper half of a float32.
func dequantizeBF16(y []float32, x []byte) {
	for i := range y {
		y[i] = math.Float32frombits(uint32(le.Uint16(x[2*i:])) << 16)
	}
}

// Q4_0: f16 d | 16 bytes q, value i in the low nibble of q[i], value i+16 in the high one
func dequantizeQ4_0(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[18:] {
		d, q := half(x), x[2:18]
		for i, b := range q {
			y[i] = d * float32(int(b&15)-8)
			y[i+16] = d * float32(int(b>>4)-8)
		}
	}
}

// Q4_1: f16 d | f16 m | 16 bytes q as in Q4_0
func dequantizeQ4_1(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[20:] {
		d, m, q := half(x), half(x[2:]), x[4:20]
		for i, b := range q {
			y[i] = float32(d*float32(b&15)) + m
			y[i+16] = float32(d*float32(b>>4)) + m
		}
	}
}

// Q5_0: f16 d | u32 h, bit i is the fifth bit of value i | 16 bytes q as in Q4_0
func dequantizeQ5_0(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[22:] {
		d, h, q := half(x), le.Uint32(x[2:]), x[6:22]
		for i, b := range q {
			y[i] = d * float32(int(b&15)+int(h>>i&1)<<4-16)
			y[i+16] = d * float32(int(b>>4)+int(h>>(i+16)&1)<<4-16)
		}
	}
}

// Q5_1: f16 d | f16 m | u32 h and 16 bytes q as in Q5_0
func dequantizeQ5_1(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[24:] {
		d, m, h, q := half(x), half(x[2:]), le.Uint32(x[4:]), x[8:24]
		for i, b := range q {
			y[i] = float32(d*float32(int(b&15)+int(h>>i&1)<<4)) + m
			y[i+16] = float32(d*float32(int(b>>4)+int(h>>(i+16)&1)<<4)) + m
		}
	}
}

// Q8_0: f16 d | 32 int8
func dequantizeQ8_0(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[34:] {
		d, q := half(x), x[2:34]
		for i, b := range q {
			y[i] = d * float32(int8(b))
		}
	}
}

// valuesIQ4 are what the nibbles of IQ4_NL and IQ4_XS stand for: kvalues_iq4nl in ggml-common.h.
var valuesIQ4 = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4_NL: f16 d | 16 bytes q as in Q4_0, nibbles through the table
func dequantizeIQ4_NL(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[32:], x[18:] {
		d, q := half(x), x[2:18]
		for i, b := range q {
			y[i] = d * valuesIQ4[b&15]
			y[i+16] = d * valuesIQ4[b>>4]
		}
	}
}

// IQ4_XS: f16 d | u16 and 4 bytes, the upper 2 and lower 4 bits of 8 scales | 8 sub-blocks of 16 bytes q as in IQ4_NL
func dequantizeIQ4_XS(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[136:] {
		d, high, low, q := half(x), le.Uint16(x[2:]), x[4:8], x[8:136]
		for j := range 8 {
			scale := int(low[j/2]>>(j%2*4)&15) + int(high>>(2*j)&3)<<4 - 32
			dj := d * float32(scale)
			for i, b := range q[16*j : 16*j+16] {
				y[32*j+i] = dj * valuesIQ4[b&15]
				y[32*j+i+16] = dj * valuesIQ4[b>>4]
			}
		}
	}
}
