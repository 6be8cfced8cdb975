package synth

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/x448/float16"

	"mustafar/gguf"
)

// Rows returns rows of random weights of any type, normally distributed where gguf can quantise, else random valid blocks.
func Rows(r *rand.Rand, typ gguf.Type, cols, rows int, std float64) []byte {
	switch typ {
	case gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1:
		return gguf.Quantize(typ, Normals(r, rows*cols, std))
	}
	return Blocks(r, typ, rows*cols/typ.BlockSize(), std)
}

// Normals returns n numbers of the normal distribution.
func Normals(r *rand.Rand, n int, std float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * std)
	}
	return x
}

// Blocks returns n random valid blocks of a quantised type whose values spread about std.
func Blocks(r *rand.Rand, typ gguf.Type, n int, std float64) []byte {
	size := typ.BlockBytes()
	b := make([]byte, n*size)
	for i := 0; i < len(b); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.Uint64())
		copy(b[i:], word[:])
	}
	put := func(b []byte, v float64) {
		binary.LittleEndian.PutUint16(b, float16.Fromfloat32(float32(v*(0.75+r.Float64()/2))).Bits())
	}
	for ; len(b) > 0 && n > 0; n-- {
		blk := b[(n-1)*size:][:size]
		switch typ { // where d (and dmin) lie, and what makes values of about std of them
		case gguf.Q5_0:
			put(blk, std/9)
		case gguf.Q5_1:
			put(blk, std/9)
			put(blk[2:], -std*1.7)
		case gguf.Q2_K:
			put(blk[80:], std/8)
			put(blk[82:], std/8)
		case gguf.Q3_K:
			put(blk[108:], std/40)
		case gguf.Q4_K:
			put(blk, std/150)
			put(blk[2:], std/20)
		case gguf.Q5_K:
			put(blk, std/300)
			put(blk[2:], std/20)
		case gguf.Q6_K:
			put(blk[208:], std/1300)
		case gguf.IQ4_NL:
			put(blk, std/60)
		case gguf.IQ4_XS:
			put(blk, std/1100)
		}
	}
	return b
}
