package gguf

import (
	"fmt"
	"strings"
)

// Type is ggml's tensor type number (enum ggml_type in ggml.h).
type Type uint32

const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
)

type typeInfo struct {
	name       string
	block      int // values a block
	bytes      int // bytes a block
	dequantize func(y []float32, x []byte)
}

// types is indexed by Type; the gaps in ggml's numbering have block 0.
var types = [...]typeInfo{
	F32:    {"F32", 1, 4, dequantizeF32},
	F16:    {"F16", 1, 2, dequantizeF16},
	Q4_0:   {"Q4_0", 32, 18, dequantizeQ4_0},
	Q4_1:   {"Q4_1", 32, 20, dequantizeQ4_1},
	Q5_0:   {"Q5_0", 32, 22, dequantizeQ5_0},
	Q5_1:   {"Q5_1", 32, 24, dequantizeQ5_1},
	Q8_0:   {"Q8_0", 32, 34, dequantizeQ8_0},
	Q2_K:   {"Q2_K", 256, 84, dequantizeQ2_K},
	Q3_K:   {"Q3_K", 256, 110, dequantizeQ3_K},
	Q4_K:   {"Q4_K", 256, 144, dequantizeQ4_K},
	Q5_K:   {"Q5_K", 256, 176, dequantizeQ5_K},
	Q6_K:   {"Q6_K", 256, 210, dequantizeQ6_K},
	IQ4_NL: {"IQ4_NL", 32, 18, dequantizeIQ4_NL},
	IQ4_XS: {"IQ4_XS", 256, 136, dequantizeIQ4_XS},
	BF16:   {"BF16", 1, 2, dequantizeBF16},
}

// Types returns the supported types in the order of their numbers.
func Types() []Type {
	var all []Type
	for t := range types {
		if types[t].block != 0 {
			all = append(all, Type(t))
		}
	}
	return all
}

func (t Type) supported() bool { return int64(t) < int64(len(types)) && types[t].block != 0 }

// String returns ggml's name, as in "Q4_K", or "type 99" for a type that is not supported.
func (t Type) String() string {
	if !t.supported() {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return types[t].name
}

// BlockSize returns the values a block: 1, 32 or 256. It panics for a type that is not supported.
func (t Type) BlockSize() int { return t.info().block }

// BlockBytes returns the bytes a block. It panics for a type that is not supported.
func (t Type) BlockBytes() int { return t.info().bytes }

// RowBytes returns the bytes of a row of cols values. It panics unless cols is a multiple of BlockSize.
func (t Type) RowBytes(cols int) int {
	info := t.info()
	if cols < 0 || cols%info.block != 0 {
		panic(fmt.Sprintf("gguf: a row of %d values is not made of %v's blocks of %d", cols, t, info.block))
	}
	return cols / info.block * info.bytes
}

func (t Type) info() typeInfo {
	if !t.supported() {
		panic(fmt.Sprintf("gguf: %v is not supported (have %s)", t, typeNames()))
	}
	return types[t]
}

func typeNames() string { return strings.Trim(fmt.Sprint(Types()), "[]") }
