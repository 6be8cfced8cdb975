package cpu

import (
	"math"
	"math/bits"
	"unsafe"

	"mustafar/sparse"
)

// encodeRows packs n rows of fp16, and is bit for bit sparse.Rows.Compress. x has memory for a multiple of four rows.
func (r packedRows) encodeRows(x []uint16, n int, k *kernels, s *scratch) {
	if k.pack == nil {
		for i := range n {
			r.encode(i, x[i*r.headDim:][:r.headDim])
		}
		return
	}
	bitmaps, bitmapBytes := allChannels(s, r.headDim), 0
	if r.codec.Pruned {
		bitmaps, bitmapBytes = &r.bitmaps[0], 8*r.words
		k.choose(r.headDim)(&x[0], bitmaps, n, r.keep)
	}
	var scales *uint16
	if r.scl > 0 {
		scales = &r.scales[0]
	}
	// beside the rows, since the kernel writes whole registers, and behind these rows others may be written at this moment
	beside, tmp := grow(&s.values, n*r.values+2*r.headDim), grow(&s.tmp, 2*r.headDim+overread)
	k.pack(r.codec.Values, r.headDim)(&x[0], bitmaps, &beside[0], scales, n, r.values, bitmapBytes, &tmp[0])
	copy(r.vals[:n*r.values], beside)
}

// allChannels returns the bitmap of a row that keeps every channel.
func allChannels(s *scratch, headDim int) *uint64 {
	ones := grow(&s.ones, headDim/64)
	for i := range ones {
		ones[i] = ^uint64(0)
	}
	return &ones[0]
}

// encode packs one fp16 row as row i. It is bit for bit sparse.Rows.Compress.
func (r packedRows) encode(i int, x []uint16) {
	row := r.vals[i*r.values:][:r.values]
	bitmap := r.bitmaps[i*r.words:][:r.words]
	if r.codec.Pruned {
		selectRow(bitmap, x, r.keep)
	}
	if r.codec.Values == sparse.F16 {
		dst := asHalves(row)
		if !r.codec.Pruned {
			copy(dst, x)
			return
		}
		j := 0
		for w, word := range bitmap {
			for ; word != 0; word &= word - 1 {
				dst[j] = x[64*w+bits.TrailingZeros64(word)]
				j++
			}
		}
		return
	}
	var kept [256]float32
	n := 0
	if r.codec.Pruned {
		for w, word := range bitmap {
			for ; word != 0; word &= word - 1 {
				kept[n] = halfToFloat(x[64*w+bits.TrailingZeros64(word)])
				n++
			}
		}
	} else {
		for c, h := range x {
			kept[c] = halfToFloat(h)
		}
		n = len(x)
	}
	r.scales[i] = quantiseRow(r.codec.Values, row, kept[:n])
}

// selectRow marks the keep channels of largest |x| as 15-bit integers, ties to the lower channel: a bisection on the magnitude that the last kept one has.
func selectRow(bitmap []uint64, x []uint16, keep int) {
	least := uint16(0) // the largest magnitude that at least keep channels reach
	for bit := uint16(1 << 14); bit != 0; bit >>= 1 {
		n := 0
		for _, h := range x {
			if h&0x7fff >= least|bit {
				n++
			}
		}
		if n >= keep {
			least |= bit
		}
	}
	clear(bitmap)
	equal := keep
	for c, h := range x {
		if h&0x7fff > least {
			bitmap[c/64] |= 1 << (c % 64)
			equal--
		}
	}
	for c, h := range x {
		if equal > 0 && h&0x7fff == least {
			bitmap[c/64] |= 1 << (c % 64)
			equal--
		}
	}
}

// quantiseRow writes the kept values of a row as integers and returns their scale in fp16: absmax/32767·1024, absmax/127 or absmax/7.
func quantiseRow(v sparse.Values, row []byte, kept []float32) (scale uint16) {
	top := float32(0)
	for _, x := range kept {
		top = max(top, float32(math.Abs(float64(x))))
	}
	most := v.Max()
	scale = floatToHalf(top / float32(most) * v.ScaleUnit())
	step := halfToFloat(scale) / v.ScaleUnit()
	clear(row)
	for j, x := range kept {
		q := 0
		if step > 0 {
			q = int(max(-float32(most), min(float32(most), float32(math.RoundToEven(float64(x/step))))))
		}
		switch v {
		case sparse.I16:
			row[2*j], row[2*j+1] = byte(q), byte(q>>8)
		case sparse.I8:
			row[j] = byte(q)
		default:
			row[j/2] |= byte(q+8) << (4 * (j & 1))
		}
	}
	return scale
}

// expand writes rows [0, n) as f32, zeros where channels were dropped.
func (r packedRows) expand(dst []float32, n int, k *kernels) {
	D := r.headDim
	if r.codec.IsDense() {
		k.halves(dst[:n*D], asHalves(r.vals[:2*n*D]))
		return
	}
	codec := r.codec
	codec.Sparsity = 0
	if k.expand != nil && k.expand(codec, D) != nil {
		p := r.pointers()
		k.expand(codec, D)(&dst[:n*D][0], (*uint64)(unsafe.Pointer(p.bitmaps)), p.values, p.scales, n, p.rowBytes, D/8)
		return
	}
	for i := range n {
		r.expandRow(dst[i*D:][:D], i)
	}
}

func (r packedRows) expandRow(dst []float32, i int) {
	row := r.vals[i*r.values:][:r.values]
	step := float32(1)
	if r.scl > 0 {
		step = halfToFloat(r.scales[i]) / r.codec.Values.ScaleUnit()
	}
	if !r.codec.Pruned {
		for c := range dst {
			dst[c] = valueAt(r.codec.Values, row, c) * step
		}
		return
	}
	clear(dst)
	j := 0
	for w, word := range r.bitmaps[i*r.words:][:r.words] {
		for ; word != 0; word &= word - 1 {
			dst[64*w+bits.TrailingZeros64(word)] = valueAt(r.codec.Values, row, j) * step
			j++
		}
	}
}

// valueAt returns stored value j of a row, before its scale.
func valueAt(v sparse.Values, row []byte, j int) float32 {
	switch v {
	case sparse.F16:
		return half(row[2*j:])
	case sparse.I16:
		return float32(int16(row[2*j]) | int16(row[2*j+1])<<8)
	case sparse.I8:
		return float32(int8(row[j]))
	default:
		return float32(int(row[j/2]>>(4*(j&1))&15) - 8)
	}
}
