package sparse

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/x448/float16"
)

// Rows holds compressed rows of one KV head, one after the other: three arrays, each addressed by a product.
// It is the reference layout: a backend may order bytes inside a block otherwise, but never stores other ones.
type Rows struct {
	Codec   Codec
	HeadDim int
	Bitmaps []uint64 // (n, headDim/64); empty where the codec does not prune
	Values  []byte   // (n, ValueBytes); little-endian fp16 or int16, int8, or two int4+8 a byte, the lower channel in the low half
	Scales  []uint16 // (n) fp16; empty for fp16 values
}

// NewRows makes room for n rows.
func NewRows(c Codec, headDim, n int) Rows {
	if headDim <= 0 || headDim%64 != 0 {
		panic(fmt.Sprintf("sparse: head dimension %d is not a multiple of 64", headDim))
	}
	return Rows{
		Codec: c, HeadDim: headDim,
		Bitmaps: make([]uint64, n*c.BitmapBytes(headDim)/8),
		Values:  make([]byte, n*c.ValueBytes(headDim)),
		Scales:  make([]uint16, n*c.ScaleBytes()/2),
	}
}

// Bitmap returns the bitmap words of row i, nil where all channels are stored.
func (r *Rows) Bitmap(i int) []uint64 {
	if !r.Codec.Pruned {
		return nil
	}
	w := r.HeadDim / 64
	return r.Bitmaps[i*w : (i+1)*w]
}

// Row returns the value bytes of row i.
func (r *Rows) Row(i int) []byte {
	n := r.Codec.ValueBytes(r.HeadDim)
	return r.Values[i*n : (i+1)*n]
}

// Scale returns what a stored integer of row i is multiplied by, 1 for fp16 values.
func (r *Rows) Scale(i int) float32 {
	if r.Codec.Values == F16 {
		return 1
	}
	return float16.Frombits(r.Scales[i]).Float32() / r.Codec.Values.ScaleUnit()
}

// Compress writes row i from headDim fp16 channels.
func (r *Rows) Compress(i int, x []uint16) {
	if len(x) != r.HeadDim {
		panic(fmt.Sprintf("sparse: a row has %d channels, want %d", len(x), r.HeadDim))
	}
	kept := make([]float32, 0, r.HeadDim)
	bitmap := r.Bitmap(i)
	if r.Codec.Pruned {
		Select(bitmap, x, r.Codec.Keep(r.HeadDim))
	}
	for c, h := range x {
		if !r.Codec.Pruned || bitmap[c/64]>>(c%64)&1 == 1 {
			kept = append(kept, float16.Frombits(h).Float32())
		}
	}
	row := r.Row(i)
	if r.Codec.Values == F16 {
		for j, v := range kept {
			binary.LittleEndian.PutUint16(row[2*j:], float16.Fromfloat32(v).Bits())
		}
		return
	}
	top := r.Codec.Values.Max()
	r.Scales[i] = float16.Fromfloat32(absMax(kept) / float32(top) * r.Codec.Values.ScaleUnit()).Bits()
	scale := r.Scale(i)
	for j, v := range kept {
		putInt(r.Codec.Values, row, j, quantise(v, scale, top))
	}
}

// quantise rounds v/scale half to even into [-top, top]; a zero scale, of a row of zeros or of numbers that vanish in fp16, gives 0.
func quantise(v, scale float32, top int) int {
	if scale == 0 {
		return 0
	}
	q := math.RoundToEven(float64(v / scale))
	return int(max(-float64(top), min(float64(top), q)))
}

func absMax(x []float32) (m float32) {
	for _, v := range x {
		m = max(m, float32(math.Abs(float64(v))))
	}
	return m
}

func putInt(v Values, row []byte, j, q int) {
	switch v {
	case I16:
		binary.LittleEndian.PutUint16(row[2*j:], uint16(int16(q)))
	case I8:
		row[j] = byte(int8(q))
	case I4:
		row[j/2] = row[j/2]&^(0xf<<(4*(j&1))) | byte(q+8)<<(4*(j&1))
	}
}

// value returns stored value j of a row, before its scale.
func (v Values) value(row []byte, j int) float32 {
	switch v {
	case F16:
		return float16.Frombits(binary.LittleEndian.Uint16(row[2*j:])).Float32()
	case I16:
		return float32(int16(binary.LittleEndian.Uint16(row[2*j:])))
	case I8:
		return float32(int8(row[j]))
	default:
		return float32(int(row[j/2]>>(4*(j&1))&0xf) - 8)
	}
}

// Expand writes row i as headDim channels, 0 where a channel was dropped.
func (r *Rows) Expand(dst []float32, i int) {
	row, scale := r.Row(i), r.Scale(i)
	if !r.Codec.Pruned {
		for c := range dst[:r.HeadDim] {
			dst[c] = r.Codec.Values.value(row, c) * scale
		}
		return
	}
	clear(dst[:r.HeadDim])
	j := 0
	for w, word := range r.Bitmap(i) {
		for ; word != 0; word &= word - 1 {
			dst[64*w+bits.TrailingZeros64(word)] = r.Codec.Values.value(row, j) * scale
			j++
		}
	}
}

// Select marks in bitmap the keep channels of largest magnitude of an fp16 row; ties go to the lower channel.
// Magnitudes compare as 15-bit integers, so Inf is larger than all numbers and NaN larger than Inf. (paper, section 3: per-token magnitude pruning)
func Select(bitmap []uint64, x []uint16, keep int) {
	order := make([]int, len(x))
	for c := range order {
		order[c] = c
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(x[b]&0x7fff) - int(x[a]&0x7fff) })
	clear(bitmap)
	for _, c := range order[:keep] {
		bitmap[c/64] |= 1 << (c % 64)
	}
}
