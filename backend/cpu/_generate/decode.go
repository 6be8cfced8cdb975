package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Attention of a decode step over blocks of rows, for all query heads of a KV head, at AVX-512. A row is expanded into registers once: dense rows are
// loads; of sparse ones, a bitmap word becomes a mask and VPEXPAND puts the values at their channels.
//
// rowKind is a type of rows. Integers are multiplied as integers: rows of 8 bits with queries and weights of 8 bits, rows of 16 with 16; fp16 as f32.
type rowKind struct {
	values string // f16, i16, i8, i4
	sparse bool
}

var rowKinds = []rowKind{{"f16", false}, {"i16", false}, {"i8", false}, {"f16", true}, {"i16", true}, {"i8", true}, {"i4", true}}

func (k rowKind) name() string {
	if k.sparse {
		return "Sparse" + k.values
	}
	return "Dense" + k.values
}

// bits is the width in which the row is multiplied: 32 (f32), 16, 8.
func (k rowKind) bits() int { return map[string]int{"f16": 32, "i16": 16, "i8": 8, "i4": 8}[k.values] }

// stored is the bytes of a stored value, 0 for half a byte.
func (k rowKind) stored() int { return map[string]int{"f16": 2, "i16": 2, "i8": 1, "i4": 0}[k.values] }

// rowReader expands 64 channels (word w) of a row into registers of 64 bytes: four of f32, two of 16 bits, one of 8.
type rowReader struct {
	rowKind
	forK              bool // 8-bit rows of K are unsigned: value + 128 (8 for i4), absent channels as 0 + 128 (8)
	bias              reg.VecVirtual
	low, shifts, wide reg.VecVirtual // i4
	levels            reg.VecVirtual
}

func newRowReader(k rowKind, forK bool) *rowReader {
	r := &rowReader{rowKind: k, forK: forK}
	l := avx512
	switch {
	case k.values == "i8" && forK:
		r.bias = l.broadcast(0x80808080)
	case k.values == "i4":
		r.low = l.broadcast(0x0f0f0f0f)
		r.shifts = ZMM()
		g := GP64()
		MOVQ(U64(0x1c1814100c080400), g)
		VPBROADCASTQ(g, r.shifts)
		if forK {
			r.bias = l.broadcast(0x08080808)
		} else {
			r.levels = ZMM()
			VBROADCASTI32X4(nibbleLevels(), r.levels)
		}
	}
	return r
}

// nibbleLevels are -8 … 7.
func nibbleLevels() Mem {
	return global("nibbles", func() {
		for i := range 16 {
			DATA(i, U8(uint8(i-8)))
		}
	})
}

// address is where a row's values begin: a base, and a register times 1, 2 or, by another register, 3.
type address struct {
	base, index reg.Register
	scale       uint8
}

func (a address) mem() Mem {
	if a.index == nil {
		return Mem{Base: a.base}
	}
	return Mem{Base: a.base, Index: a.index, Scale: a.scale}
}

// read expands word w of the row whose bitmap is at bitmap and whose values are at a. start, if not nil, is the register that holds the number of
// values before the word.
func (r *rowReader) read(bitmap Mem, a address, w int) []reg.VecVirtual {
	if !r.sparse {
		return r.readDense(a.mem(), w)
	}
	at := a.mem()
	var before reg.GPVirtual
	if w > 0 {
		before = GP64()
		POPCNTQ(bitmap, before)
		for i := 1; i < w; i++ {
			more := GP64()
			POPCNTQ(bitmap.Offset(8*i), more)
			ADDQ(more, before)
		}
	}
	word := bitmap.Offset(8 * w)
	if r.stored() > 0 {
		if w > 0 {
			base := GP64()
			LEAQ(at, base)
			at = Mem{Base: base, Index: before, Scale: uint8(r.stored())}
		}
		if r.values == "i8" {
			k, z := K(), ZMM()
			KMOVQ(word, k)
			VPEXPANDB_Z(at, k, z)
			if r.forK {
				VPXORQ(r.bias, z, z)
			}
			return []reg.VecVirtual{z}
		}
		return r.readHalves(word, at)
	}
	return []reg.VecVirtual{r.readNibbles(word, at, before)}
}

func (r *rowReader) readDense(at Mem, w int) (out []reg.VecVirtual) {
	switch r.values {
	case "f16":
		for i := range 4 {
			z := ZMM()
			VCVTPH2PS(at.Offset(128*w+32*i), z)
			out = append(out, z)
		}
	case "i16":
		for i := range 2 {
			z := ZMM()
			VMOVDQU64(at.Offset(128*w+64*i), z)
			out = append(out, z)
		}
	default:
		z := ZMM()
		if r.forK {
			VPXORQ(at.Offset(64*w), r.bias, z)
		} else {
			VMOVDQU64(at.Offset(64*w), z)
		}
		out = append(out, z)
	}
	return out
}

// readHalves expands 16-bit values: 32 channels a register.
func (r *rowReader) readHalves(word, at Mem) (out []reg.VecVirtual) {
	n := GP64()
	POPCNTL(word, n.As32())
	second := GP64()
	LEAQ(at, second)
	for i, from := range []Mem{at, {Base: second, Index: n, Scale: 2}} {
		k, z := K(), ZMM()
		KMOVD(word.Offset(4*i), k)
		VPEXPANDW_Z(from, k, z)
		if r.values == "i16" {
			out = append(out, z)
			continue
		}
		high := YMM()
		VEXTRACTI64X4(U8(1), z, high)
		low, up := ZMM(), ZMM()
		VCVTPH2PS(z.AsY(), low)
		VCVTPH2PS(high, up)
		out = append(out, low, up)
	}
	return out
}

// readNibbles expands 4-bit values. They begin in the middle of a byte where an odd number of values lies before the word.
func (r *rowReader) readNibbles(word, at Mem, before reg.GPVirtual) reg.VecVirtual {
	q, shifts := ZMM(), r.shifts
	if before == nil {
		VPMOVZXDQ(at, q) // 8 nibbles a quadword
	} else {
		base, odd := GP64(), GP64()
		LEAQ(at, base)
		MOVQ(before, odd)
		SHRQ(Imm(1), before)
		ANDL(Imm(1), odd.As32())
		SHLL(Imm(2), odd.As32())
		VMOVDQU64(Mem{Base: base, Index: before, Scale: 1}, q)
		if r.wide == nil {
			r.wide = ZMM()
			VMOVDQU64(fourApart(), r.wide)
		}
		VPERMB(q, r.wide, q) // bytes 4i … 4i+7 in quadword i
		shifts = ZMM()
		VPBROADCASTB(odd.As32(), shifts)
		VPADDB(r.shifts, shifts, shifts)
	}
	VPMULTISHIFTQB(q, shifts, q)
	VPANDQ(r.low, q, q)
	k, z := K(), ZMM()
	KMOVQ(word, k)
	if r.forK {
		VMOVDQA64(r.bias, z)
		VPEXPANDB(q, k, z)
	} else {
		VPSHUFB(q, r.levels, q)
		VPEXPANDB_Z(q, k, z)
	}
	return z
}

// fourApart is, for quadword i of a register, bytes 4i … 4i+7.
func fourApart() Mem {
	return global("fourApart", func() {
		for i := range 64 {
			DATA(i, U8(uint8(i/8*4+i%8)))
		}
	})
}

// transpose4 transposes dwords of four rows within each 128-bit lane: dword i of register j is row i's dword j.
func transpose4(r [4]reg.VecVirtual) [4]reg.VecVirtual {
	a, b, c, d := ZMM(), ZMM(), ZMM(), ZMM()
	VPUNPCKLDQ(r[1], r[0], a)
	VPUNPCKHDQ(r[1], r[0], b)
	VPUNPCKLDQ(r[3], r[2], c)
	VPUNPCKHDQ(r[3], r[2], d)
	out := [4]reg.VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	VPUNPCKLQDQ(c, a, out[0])
	VPUNPCKHQDQ(c, a, out[1])
	VPUNPCKLQDQ(d, b, out[2])
	VPUNPCKHQDQ(d, b, out[3])
	return out
}

// scores multiplies rows of K with queries. Four rows are transposed, so that a dword lane holds one row, and 4, 2 or 1 of its channels; each query is
// stored to match, every dword four times. So there is one multiplication a row's 64 bytes and query, and one sum across lanes for 16 rows.
//
//	q [heads][D/64][16, 8 or 4][64]   scale [heads] { f32, int32 bias }   out [heads][64] f32 = (Σ q·k - bias)·scale·row scale
func scores(k rowKind, D int) {
	TEXT(fmt.Sprintf("scores%sD%d", k.name(), D), NOSPLIT, "func(bitmaps, values *byte, scales *uint16, q *byte, qscale, out *float32, rows16, rowBytes, heads int, tmp *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("16·rows16 rows of %d channels with heads queries; tmp [heads][256].", D))
	bitmaps, values := Mem{Base: Load(Param("bitmaps"), GP64())}, Load(Param("values"), GP64())
	scales, out := Mem{Base: Load(Param("scales"), GP64())}, Mem{Base: Load(Param("out"), GP64())}
	n, rowBytes := Load(Param("rows16"), GP64()).(reg.GPVirtual), Load(Param("rowBytes"), GP64())
	rowBytes3 := GP64()
	LEAQ(Mem{Base: rowBytes, Index: rowBytes, Scale: 2}, rowBytes3)
	reader := newRowReader(k, true)
	if k.values == "i4" && D > 64 {
		reader.wide = ZMM()
		VMOVDQU64(fourApart(), reader.wide)
	}
	perWord := k.bits() / 2             // transposed registers of 64 channels: 16, 8, 4
	slabWords := min(D/64, 16/perWord)  // words that are held at once
	quads := 16 / (perWord * slabWords) // of rows, held at once
	slabs, passes := D/64/slabWords, 4/quads
	Label("rows")
	row := GP64()
	MOVQ(values, row)
	for pass := range passes {
		starts := make([]reg.GPVirtual, quads)
		for i := range starts {
			starts[i] = GP64()
			MOVQ(row, starts[i])
			LEAQ(Mem{Base: row, Index: rowBytes, Scale: 4}, row)
		}
		for slab := range slabs {
			held := make([][]reg.VecVirtual, quads)
			for i := range quads {
				for w := slab * slabWords; w < (slab+1)*slabWords; w++ {
					var rows [4][]reg.VecVirtual
					for t := range rows {
						a := address{base: starts[i]}
						switch t {
						case 1, 2:
							a.index, a.scale = rowBytes, uint8(t)
						case 3:
							a.index, a.scale = rowBytes3, 1
						}
						rows[t] = reader.read(bitmaps.Offset((4*(pass*quads+i)+t)*D/8), a, w)
					}
					for h := range rows[0] {
						x := transpose4([4]reg.VecVirtual{rows[0][h], rows[1][h], rows[2][h], rows[3][h]})
						held[i] = append(held[i], x[:]...)
					}
				}
			}
			q, heads, tmp := Mem{Base: Load(Param("q"), GP64())}, Load(Param("heads"), GP64()).(reg.GPVirtual), Mem{Base: Load(Param("tmp"), GP64())}
			loop(fmt.Sprintf("heads%d_%d", pass, slab), heads, 1, func() {
				for i := range quads {
					sum := ZMM()
					if slab == 0 {
						zero(sum)
					} else {
						VMOVUPS(tmp.Offset(64*(pass*quads+i)), sum)
					}
					for j, x := range held[i] {
						from := q.Offset(64 * (slab*perWord*slabWords + j))
						switch k.bits() {
						case 32:
							VFMADD231PS(from, x, sum)
						case 16:
							VPDPWSSD(from, x, sum)
						default:
							VPDPBUSD(from, x, sum)
						}
					}
					VMOVUPS(sum, tmp.Offset(64*(pass*quads+i)))
				}
				ADDQ(U32(64*perWord*D/64), q.Base)
				ADDQ(U32(256), tmp.Base)
			})
		}
	}
	// sum the four lanes of each quad's register: lane i of the result is quad i, dword j its row j
	heads, tmp, scale, to := Load(Param("heads"), GP64()).(reg.GPVirtual), Mem{Base: Load(Param("tmp"), GP64())}, Mem{Base: Load(Param("qscale"), GP64())}, Mem{Base: GP64()}
	MOVQ(out.Base, to.Base)
	rowScale := ZMM()
	if k.values != "f16" {
		VCVTPH2PS(scales, rowScale)
	}
	add := VADDPS
	if k.bits() == 8 {
		add = VPADDD
	}
	join := func(a, b reg.VecVirtual) reg.VecVirtual {
		t := ZMM()
		VSHUFI64X2(U8(0x88), b, a, t)
		VSHUFI64X2(U8(0xdd), b, a, a)
		add(t, a, a)
		return a
	}
	loop("join", heads, 1, func() {
		var quad [4]reg.VecVirtual
		for i := range quad {
			quad[i] = ZMM()
			VMOVUPS(tmp.Offset(64*i), quad[i])
			if k.bits() == 16 { // the lanes' sums fill 32 bits
				VCVTDQ2PS(quad[i], quad[i])
			}
		}
		sum := join(join(quad[0], quad[1]), join(quad[2], quad[3]))
		if k.bits() < 32 {
			if k.bits() == 8 {
				VPSUBD_BCST(scale.Offset(4), sum, sum)
				VCVTDQ2PS(sum, sum)
			}
			VMULPS(rowScale, sum, sum)
		}
		VMULPS_BCST(scale, sum, sum)
		VMOVUPS(sum, to)
		ADDQ(U32(256), tmp.Base)
		ADDQ(U32(8), scale.Base)
		ADDQ(U32(256), to.Base)
	})
	MOVQ(row, values)
	ADDQ(U32(16*D/8), bitmaps.Base)
	ADDQ(U32(32), scales.Base)
	ADDQ(U32(64), out.Base)
	DECQ(n)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// sums adds weighted rows of V, 64 channels of them (word w), to the accumulators of up to four query heads. Integer rows are put side by side, four of
// 8 bits or two of 16 to a dword lane, and multiplied with as many weights at once; integer sums of one block cannot overflow.
//
//	weights [heads][64] f32, int16 or uint8    acc [heads][D] f32, the word's 64: acc·a + Σ weight·row·b    factors [heads] { a, b }
//
// Channels lie in acc as the interleaving leaves them; package cpu's channelOrder tells where.
func sums(k rowKind, w, heads int) {
	TEXT(fmt.Sprintf("sums%dof%sW%d", heads, k.name(), w), NOSPLIT, "func(bitmaps, values, weights *byte, acc, factors *float32, rows, rowBytes, bitmapBytes, accBytes int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("rows (a multiple of %d) into %d heads; rowBytes, bitmapBytes a row, accBytes a head.", 32/k.bits(), heads))
	bitmaps, values, weights := Mem{Base: Load(Param("bitmaps"), GP64())}, Load(Param("values"), GP64()), Mem{Base: Load(Param("weights"), GP64())}
	n, rowBytes, bitmapBytes := Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("rowBytes"), GP64()), Load(Param("bitmapBytes"), GP64())
	reader := newRowReader(k, false)
	if k.values == "i4" && w > 0 {
		reader.wide = ZMM()
		VMOVDQU64(fourApart(), reader.wide)
	}
	sum := make([][]reg.VecVirtual, heads)
	for h := range sum {
		sum[h] = avx512.zeros(4)
	}
	together := 32 / k.bits()
	headBytes := blockRows * k.bits() / 8
	loop("rows", n, together, func() {
		var rows [4][]reg.VecVirtual
		for t := range together {
			rows[t] = reader.read(bitmaps, address{base: values}, w)
			ADDQ(rowBytes, values)
			if k.sparse {
				ADDQ(bitmapBytes, bitmaps.Base)
			}
		}
		lanes := sideBySide(rows, together)
		for h := range sum {
			p := ZMM()
			VPBROADCASTD(weights.Offset(headBytes*h), p)
			for j, x := range lanes {
				switch k.bits() {
				case 32:
					VFMADD231PS(x, p, sum[h][j])
				case 16:
					VPDPWSSD(x, p, sum[h][j])
				default:
					VPDPBUSD(x, p, sum[h][j])
				}
			}
		}
		ADDQ(U32(4), weights.Base)
	})
	acc, factors, accBytes := Mem{Base: Load(Param("acc"), GP64())}, Mem{Base: Load(Param("factors"), GP64())}, Load(Param("accBytes"), GP64())
	for h := range sum {
		a, b := ZMM(), ZMM()
		VBROADCASTSS(factors.Offset(8*h), a)
		VBROADCASTSS(factors.Offset(8*h+4), b)
		for j, x := range sum[h] {
			if k.bits() < 32 {
				VCVTDQ2PS(x, x)
			}
			VMULPS(b, x, x)
			VFMADD231PS(acc.Offset(64*j), a, x)
			VMOVUPS(x, acc.Offset(64*j))
		}
		ADDQ(accBytes, acc.Base)
	}
	VZEROUPPER()
	RET()
}

// sideBySide interleaves rows so that a dword lane holds one channel of all of them: four registers for 64 channels.
func sideBySide(rows [4][]reg.VecVirtual, together int) []reg.VecVirtual {
	pair := func(low, high func(ops ...Op), a, b reg.VecVirtual) (x, y reg.VecVirtual) {
		x, y = ZMM(), ZMM()
		low(b, a, x)
		high(b, a, y)
		return x, y
	}
	switch together {
	case 1:
		return rows[0]
	case 2:
		a, b := pair(VPUNPCKLWD, VPUNPCKHWD, rows[0][0], rows[1][0])
		c, d := pair(VPUNPCKLWD, VPUNPCKHWD, rows[0][1], rows[1][1])
		return []reg.VecVirtual{a, b, c, d}
	default:
		a, b := pair(VPUNPCKLBW, VPUNPCKHBW, rows[0][0], rows[1][0])
		c, d := pair(VPUNPCKLBW, VPUNPCKHBW, rows[2][0], rows[3][0])
		e, f := pair(VPUNPCKLWD, VPUNPCKHWD, a, c)
		g, h := pair(VPUNPCKLWD, VPUNPCKHWD, b, d)
		return []reg.VecVirtual{e, f, g, h}
	}
}

// weigh turns scores of one block into weights, in the width of the rows that they will multiply, an online softmax: of each head's first n scores
//
//	top = max score, sum = Σ exp(score - top), new = max(m, top)    l = l·a + b·sum, a = exp(m - new), b = exp(top - new)
//
// Weights are exp(score - top), times the rows' scales; integers as much of their range as fits, b divided by the factor.
func weigh(bits int) {
	l := avx512
	TEXT(fmt.Sprintf("weigh%d", bits), NOSPLIT, "func(scores *float32, scales *uint16, weights *byte, m, sum, factors *float32, largest float32, n, heads int)")
	Pragma("noescape")
	Doc("scores [heads][64]; scales of the rows, largest the largest of them; factors [heads] { a, b }.")
	x, weights := Mem{Base: Load(Param("scores"), GP64())}, Mem{Base: Load(Param("weights"), GP64())}
	ms, sums, factors := Mem{Base: Load(Param("m"), GP64())}, Mem{Base: Load(Param("sum"), GP64())}, Mem{Base: Load(Param("factors"), GP64())}
	heads := Load(Param("heads"), GP64()).(reg.GPVirtual)
	e, none := newExponential(l), l.float(nothing)
	var scale []reg.VecVirtual
	largest, range_ := XMM(), XMM()
	if bits < 32 {
		scales := Mem{Base: Load(Param("scales"), GP64())}
		for i := range 4 {
			scale = append(scale, ZMM())
			VCVTPH2PS(scales.Offset(32*i), scale[i])
		}
		Load(Param("largest"), largest)
		r := GP32()
		MOVL(U32(map[int]uint32{8: 0x437f0000, 16: 0x46fffe00}[bits]), r) // 255, 32767
		VMOVD(r, range_)
	}
	loop("head", heads, 1, func() {
		s := make([]reg.VecVirtual, 4)
		for i := range s {
			s[i] = ZMM()
			VMOVUPS(x.Offset(64*i), s[i])
		}
		n := GP32()
		Load(Param("n"), n.As64())
		CMPL(n, Imm(blockRows))
		JE(LabelRef("all"))
		l.hide(s, n, none)
		Label("all")
		top, t := ZMM(), ZMM()
		VMAXPS(s[0], s[1], top)
		VMAXPS(s[2], s[3], t)
		VMAXPS(t, top, top)
		l.spread(top, VMAXPS)
		// a and b as lanes 0 and 1 of one register
		before, after := XMM(), XMM()
		VMOVSS(ms, before)
		VMAXSS(before, top.AsX(), after)
		VMOVSS(after, ms)
		ab := ZMM()
		VUNPCKLPS(top.AsX(), before, ab.AsX())
		VBROADCASTSS(after, after)
		VSUBPS(after, ab.AsX(), ab.AsX())
		for _, r := range s {
			VSUBPS(top, r, r)
		}
		e.of(append([]reg.VecVirtual{ab}, s...)...)
		total := ZMM()
		VADDPS(s[0], s[1], total)
		VADDPS(s[2], s[3], t)
		VADDPS(t, total, total)
		l.spread(total, VADDPS)
		b, old := XMM(), XMM()
		VMOVSHDUP(ab.AsX(), b)
		VMOVSS(sums, old)
		VMULSS(ab.AsX(), old, old)
		VFMADD231SS(b, total.AsX(), old)
		VMOVSS(old, sums)
		if bits < 32 {
			// the integers are weight·scale·(range / largest product possible)
			up, all := XMM(), ZMM()
			if bits == 8 {
				VDIVSS(largest, range_, up)
			} else {
				VMULSS(largest, total.AsX(), up)
				VDIVSS(up, range_, up)
			}
			VDIVSS(up, b, b)
			if bits == 16 { // scales of int16 rows are multiples of 1/1024
				unit, r := XMM(), GP32()
				MOVL(U32(0x3a800000), r)
				VMOVD(r, unit)
				VMULSS(unit, b, b)
			}
			VBROADCASTSS(up, all)
			for i, r := range s {
				VMULPS(scale[i], r, r)
				VMULPS(all, r, r)
				VCVTPS2DQ(r, r)
				if bits == 8 {
					VPMOVDB(r, weights.Offset(16*i))
				} else {
					VPMOVDW(r, weights.Offset(32*i))
				}
			}
		} else {
			for i, r := range s {
				VMOVUPS(r, weights.Offset(64*i))
			}
		}
		VMOVSS(ab.AsX(), factors)
		VMOVSS(b, factors.Offset(4))
		ADDQ(U32(4*blockRows), x.Base)
		ADDQ(U32(uint32(blockRows*bits/8)), weights.Base)
		ADDQ(U32(4), ms.Base)
		ADDQ(U32(4), sums.Base)
		ADDQ(U32(8), factors.Base)
	})
	VZEROUPPER()
	RET()
}

// headDims are those that kernels are made for; the others take the plain way.
var headDims = []int{64, 128, 256}

const (
	maxSumHeads = 4
	maxWords    = 4
)

func decode() {
	for _, bits := range []int{8, 16, 32} {
		weigh(bits)
	}
	for _, k := range rowKinds {
		for _, D := range headDims {
			scores(k, D)
		}
		for w := range maxWords {
			if w > 0 && !k.sparse {
				break // a word of a dense row is an offset
			}
			for h := 1; h <= maxSumHeads; h++ {
				sums(k, w, h)
			}
		}
	}
}
