package cpu

import (
	"math"
	"unsafe"

	"mustafar/backend"
	"mustafar/sparse"
)

// stepKernels attend to rows of one codec of K and one of V in a decode step, straight on the rows.
type stepKernels struct {
	ok    bool
	k, v  rowKernels
	order []int // where channel c lies in a sum
}

func newStepKernels(k *kernels, kc, vc sparse.Codec, headDim int) stepKernels {
	rk, okK := k.rowsOf(kc, headDim)
	rv, okV := k.rowsOf(vc, headDim)
	s := stepKernels{ok: okK && okV, k: rk, v: rv, order: make([]int, headDim)}
	for c := range s.order {
		s.order[c] = c
		if s.ok {
			s.order[c] = c&^63 + channelOrder(rv.bits, c%64)
		}
	}
	return s
}

// channelOrder returns where channel c of 64 lies in a sum: interleaving rows of 8 and 16 bits within 128-bit lanes leaves channels in another order.
func channelOrder(bits, c int) int {
	switch bits {
	case 8:
		lane, register, dword := c/16, c/4%4, c%4
		return 16*register + 4*lane + dword
	case 16:
		half, lane, register, dword := c/32, c/8%4, c/4%2, c%4
		return 16*(2*half+register) + 4*lane + dword
	default:
		return c
	}
}

func (s *store) stepKernels(packed bool) *stepKernels {
	if packed {
		return &s.packed
	}
	return &s.dense
}

// queries are the query heads of one KV head in the form that score kernels read: 64 channels of a head as registers in which a dword holds 4, 2 or 1
// channels and stands four times in each 128-bit lane, once for each of four rows.
type queries struct {
	data  []byte
	scale []float32 // (heads) { scale, 128·Σq as int32 bits }
}

// queryMemory is where queries of a whole Attend lie.
type queryMemory struct {
	data              []byte
	scale             []float32
	natural, permuted []float32
}

// prepareQueries writes the queries of all steps, for the kinds of rows that they meet.
func (j *attendJob) prepareQueries() {
	s, g := j.s, j.s.group()
	size := 16 * g * s.spec.HeadDim // four times f32, the largest form
	data, scale := grow(&j.data, 2*len(j.steps)*size), grow(&j.scale, 4*len(j.steps)*g)
	for i := range j.steps {
		st := &j.steps[i]
		st.dense = queries{data[:size], scale[:2*g]}
		st.pack = queries{data[size : 2*size], scale[2*g : 4*g]}
		data, scale = data[2*size:], scale[4*g:]
		it := &j.items[st.first]
		from := j.q[(it.row*s.spec.Heads+it.kvh*g)*s.spec.HeadDim:][:g*s.spec.HeadDim]
		meets := [2]bool{}
		for _, part := range j.items[st.first:][:st.parts] {
			if part.packed {
				meets[1] = true
			} else {
				meets[0] = true
			}
		}
		if meets[0] && s.dense.ok {
			st.dense.prepare(from, s.dense.k.bits, 0, s.spec.HeadDim)
		}
		if meets[1] && s.packed.ok {
			st.pack.prepare(from, s.packed.k.bits, zeroPoint(s.spec.K.Values), s.spec.HeadDim)
		}
	}
}

// zeroPoint is what kernels add to stored 8-bit values of K to make them unsigned.
func zeroPoint(v sparse.Values) int {
	switch v {
	case sparse.I8:
		return 128
	case sparse.I4:
		return 8
	default:
		return 0
	}
}

// prepare rounds the query heads in x to integers of a row's width, or leaves them f32, and lays them out. The scale holds 1/√D, and for i16 the unit of
// rows' scales.
func (q *queries) prepare(x []float32, bits, zero, headDim int) {
	root := float32(1 / math.Sqrt(float64(headDim)))
	for h := 0; h*headDim < len(x); h++ {
		head := x[h*headDim:][:headDim]
		switch bits {
		case 32:
			dst := asFloats(q.data[16*h*headDim:][:16*headDim])
			for c, v := range head {
				at := c/16*64 + c%4*16 + c/4%4*4
				dst[at], dst[at+1], dst[at+2], dst[at+3] = v, v, v, v
			}
			q.scale[2*h] = root
		case 16:
			most := float32(1<<18/headDim - 1) // a lane sums a quarter of the products, of at most 32767 each, in 32 bits
			dst := asWords32(q.data[8*h*headDim:][:8*headDim])
			step := roundTo(head, most, func(c int, v int32) {
				// dword c/2 of the head; registers of 32 channels: four dwords j of lane L hold channels 8L+2j, 8L+2j+1
				d := c / 2
				at := d/16*64 + d%4*16 + d/4%4*4
				for i := range 4 {
					if c%2 == 0 {
						dst[at+i] = uint32(uint16(v))
					} else {
						dst[at+i] |= uint32(uint16(v)) << 16
					}
				}
			})
			q.scale[2*h] = step * root / sparse.I16.ScaleUnit()
		default:
			dst := asWords32(q.data[4*h*headDim:][:4*headDim])
			sum := int32(0)
			step := roundTo(head, 127, func(c int, v int32) {
				sum += v
				d := c / 4
				at := d/16*64 + d%4*16 + d/4%4*4
				shifted := uint32(uint8(v)) << (8 * (c % 4))
				for i := range 4 {
					if c%4 == 0 {
						dst[at+i] = shifted
					} else {
						dst[at+i] |= shifted
					}
				}
			})
			q.scale[2*h] = step * root
			q.scale[2*h+1] = math.Float32frombits(uint32(int32(zero) * sum))
		}
	}
}

// roundTo rounds x to integers of at most most, half to even, hands each to put, and returns the step between them.
func roundTo(x []float32, most float32, put func(c int, v int32)) (step float32) {
	top := float32(0)
	for _, v := range x {
		top = max(top, float32(math.Abs(float64(v))))
	}
	inverse := float32(0)
	if top > 0 {
		inverse = most / top
	}
	for c, v := range x {
		put(c, int32(math.RoundToEven(float64(v*inverse))))
	}
	return top / most
}

// scoreAhead is how many blocks of K are scored before their V: where rows are long, reading two streams in turn costs more than the scores' memory.
func scoreAhead(headDim int) int {
	if headDim == 64 {
		return 1
	}
	return partBlocks
}

// stepPart attends to the blocks of a part.
func (j *attendJob) stepPart(it *attendItem, sum partial, w *scratch) {
	s, g := j.s, j.s.group()
	ks := s.stepKernels(it.packed)
	q := &j.steps[it.step].dense
	if it.packed {
		q = &j.steps[it.step].pack
	}
	ahead := scoreAhead(s.spec.HeadDim)
	scores, tmp := grow(&w.s, ahead*g*backend.BlockRows), grow(&w.tmp, 256*g)
	weights, factors := grow(&w.weights, 4*g*backend.BlockRows), grow(&w.factors, 2*g)
	score := ks.k.scores[s.spec.HeadDim]
	for lo := it.lo; lo < it.hi; lo += ahead {
		blocks := it.p.blocks[lo:min(lo+ahead, it.hi)]
		for i := range blocks {
			k, _ := s.rows(&blocks[i], it.kvh)
			score(k.bitmaps, k.values, k.scales, &q.data[0], &q.scale[0], &scores[i*g*backend.BlockRows], (blocks[i].rows+kernelRows-1)/kernelRows, k.rowBytes, g, &tmp[0])
		}
		for i := range blocks {
			b := &blocks[i]
			_, v := s.rows(b, it.kvh)
			ks.v.weigh(&scores[i*g*backend.BlockRows], v.scales, &weights[0], &sum.m[0], &sum.l[0], &factors[0], v.largest, b.rows, g)
			s.addValues(ks, v, weights, factors, sum, b.rows)
		}
	}
}

// expandedPart attends to the blocks of a part by their rows expanded to f32.
func (j *attendJob) expandedPart(it *attendItem, sum partial, w *scratch) {
	s, g, D, k := j.s, j.s.group(), j.s.spec.HeadDim, j.s.c.k
	root := float32(1 / math.Sqrt(float64(D)))
	q, scores, factors := grow(&w.prompt.q, g*D), grow(&w.s, g*backend.BlockRows), grow(&w.factors, g)
	scaleTo(q, j.q[(it.row*s.spec.Heads+it.kvh*g)*D:], root)
	rk, rv, seen := grow(&w.k, backend.BlockRows*D), grow(&w.v, backend.BlockRows*D), grow(&w.prompt.seen, g)
	for i := it.lo; i < it.hi; i++ {
		b := &it.p.blocks[i]
		s.expand(rk[:b.rows*D], rv[:b.rows*D], b, it.kvh)
		for h := range g {
			k.rowDots(&scores[h*backend.BlockRows], &rk[0], &q[h*D], (b.rows+7)/8, D)
			seen[h] = int32(b.rows)
		}
		k.softmax(&scores[0], &sum.m[0], &sum.l[0], &factors[0], &seen[0], g)
		for h := range g {
			k.rowSums(&sum.acc[h*D], &rv[0], &scores[h*backend.BlockRows], factors[h], b.rows, D)
		}
	}
}

// addValues adds the weighted rows of V of one block to the sums, up to four heads at a time, word after word of 64 channels.
func (s *store) addValues(ks *stepKernels, v rowPointers, weights []byte, factors []float32, sum partial, rows int) {
	D, g := s.spec.HeadDim, s.group()
	n := roundUp(rows, 32/ks.v.bits)
	for h := 0; h < g; h += 4 {
		heads := min(4, g-h)
		for word := range D / 64 {
			kernels, values := ks.v.sums[0], v.values
			if len(ks.v.sums) > 1 {
				kernels = ks.v.sums[word]
			} else {
				values = (*byte)(unsafe.Add(unsafe.Pointer(values), v.rowBytes/(D/64)*word))
			}
			kernels[heads-1](v.bitmaps, values, &weights[h*backend.BlockRows*ks.v.bits/8], &sum.acc[h*D+64*word], &factors[2*h], n, v.rowBytes, D/8, 4*D)
		}
	}
}

// rowPointers are where rows of K or V of one KV head lie.
type rowPointers struct {
	bitmaps, values *byte
	scales          *uint16
	rowBytes        int
	largest         float32 // scale of V rows
}

// rows returns where the block's rows of K and V lie.
func (s *store) rows(b *block, kvh int) (k, v rowPointers) {
	if b.dense != nil {
		hk, hv := b.dense.head(kvh, s.spec.HeadDim)
		n := 2 * s.spec.HeadDim
		return rowPointers{values: (*byte)(unsafe.Pointer(&hk[0])), rowBytes: n}, rowPointers{values: (*byte)(unsafe.Pointer(&hv[0])), rowBytes: n}
	}
	h := &b.seg.heads[kvh]
	k, v = h.k.from(b.at*backend.BlockRows, s.k), h.v.from(b.at*backend.BlockRows, s.v)
	v.largest = h.largest[b.at]
	return k, v
}

// from returns where row i lies.
func (p rowPointers) from(i int, l rowLayout) rowPointers {
	p.values = (*byte)(unsafe.Add(unsafe.Pointer(p.values), i*l.values))
	if l.words > 0 {
		p.bitmaps = (*byte)(unsafe.Add(unsafe.Pointer(p.bitmaps), 8*i*l.words))
	}
	if l.scl > 0 {
		p.scales = (*uint16)(unsafe.Add(unsafe.Pointer(p.scales), 2*i))
	}
	return p
}

func (r packedRows) pointers() rowPointers {
	p := rowPointers{values: &r.vals[0], rowBytes: r.values}
	if r.words > 0 {
		p.bitmaps = (*byte)(unsafe.Pointer(&r.bitmaps[0]))
	}
	if r.scl > 0 {
		p.scales = &r.scales[0]
	}
	return p
}
