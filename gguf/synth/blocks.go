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

// Blocks returns n random valid blocks of a quantised type. Their values have mean 0 and spread about std: a mean would add up over a row's columns, and
// layers of such rows turn every input into the same output.
func Blocks(r *rand.Rand, typ gguf.Type, n int, std float64) []byte {
	size := typ.BlockBytes()
	b := make([]byte, n*size)
	for i := 0; i < len(b); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.Uint64())
		copy(b[i:], word[:])
	}
	for blk := b; len(blk) > 0; blk = blk[size:] {
		// Scales and quants are uniform, so a block's values over d have the standard deviation that is the divisor here (with minima, once centred).
		// A minimum takes the mean away; what is left of it goes with d's sign.
		d := std * (0.75 + r.Float64()/2) * float64(1-2*int(r.Uint64()&1))
		put := func(at int, v float64) {
			binary.LittleEndian.PutUint16(blk[at:], float16.Fromfloat32(float32(v)).Bits())
		}
		switch typ {
		case gguf.Q5_0:
			put(0, d/9.2)
		case gguf.Q5_1:
			put(0, d/9.2)
			put(2, d/9.2*-15.5)
		case gguf.Q2_K:
			put(80, d/9.8)
			put(82, d/9.8*1.5)
		case gguf.Q3_K:
			put(108, d/43)
		case gguf.Q4_K:
			put(0, d/169)
			put(2, d/169*7.5)
		case gguf.Q5_K:
			put(0, d/338)
			put(2, d/338*15.5)
		case gguf.Q6_K:
			put(208, d/1366)
		case gguf.IQ4_NL:
			put(0, d/67)
		case gguf.IQ4_XS:
			put(0, d/1245)
		}
	}
	return b
}

// centre gives each sub-block of the K-quants that have minima the mean 0, by a minimum that is like its scale. In a model, means of 32 columns in the
// embedding and in the first layer's keys would meet, and attention would be one-hot.
func centre(typ gguf.Type, b []byte) {
	for ; len(b) > 0; b = b[typ.BlockBytes():] {
		switch typ {
		case gguf.Q2_K: // a byte holds scale and minimum
			for i := range 16 {
				b[i] = b[i] & 15 * 0x11
			}
		case gguf.Q4_K, gguf.Q5_K: // 4 bytes begin with scales, 4 with minima, 4 hold nibbles of both (get_scale_min_k4 of ggml-quants.c)
			copy(b[8:12], b[4:8])
			for i := 12; i < 16; i++ {
				b[i] = b[i] & 15 * 0x11
			}
		default:
			return
		}
	}
}
