package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Compression of rows at AVX-512: package sparse's Select and Compress, bit for bit.

// rowsAtOnce rows are pruned side by side, since each step of a row's bisection waits for the one before.
const rowsAtOnce = 4

// choose marks the keep channels of largest magnitude of fp16 rows, ties to the lower channel.
//
// The last kept magnitude is found bit by bit from the top: a bit stays where at least keep channels reach the number so far. What is above it is kept,
// and of what equals it the lowest channels: a PDEP of as many ones as are left.
func choose(D int) {
	TEXT(fmt.Sprintf("chooseD%d", D), NOSPLIT, "func(x *uint16, bitmaps *uint64, rows4, keep int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("4·rows4 rows of %d channels.", D))
	x, bitmaps := Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	n, keep := Load(Param("rows4"), GP64()).(reg.GPVirtual), Load(Param("keep"), GP64())
	words := D / 64
	mask := avx512.broadcast(0x7fff7fff)
	Label("rows")
	magnitudes := func(row, word int) (a, b reg.VecVirtual) { // in the cache: long rows do not fit registers
		a, b = ZMM(), ZMM()
		VPANDD(x.Offset(2*D*row+128*word), mask, a)
		VPANDD(x.Offset(2*D*row+128*word+64), mask, b)
		return a, b
	}
	least := make([]reg.GPVirtual, rowsAtOnce)
	for i := range least {
		least[i] = GP64()
		XORL(least[i].As32(), least[i].As32())
	}
	bit := GP64()
	MOVL(U32(1<<14), bit.As32())
	Label("bit")
	for i := range least {
		try, limit, count := GP64(), ZMM(), GP64()
		MOVL(least[i].As32(), try.As32())
		ORL(bit.As32(), try.As32())
		VPBROADCASTW(try.As32(), limit)
		for w := range words {
			a, b := magnitudes(i, w)
			m := compare64(5, limit, a, b)
			if w == 0 {
				POPCNTQ(m, count)
				continue
			}
			POPCNTQ(m, m)
			ADDQ(m, count)
		}
		CMPQ(count, keep)
		CMOVLGE(try.As32(), least[i].As32())
	}
	SHRL(Imm(1), bit.As32())
	JNZ(LabelRef("bit"))
	for i := range least {
		limit, left, none := ZMM(), GP64(), GP64()
		VPBROADCASTW(least[i].As32(), limit)
		MOVQ(keep, left)
		XORL(none.As32(), none.As32())
		for w := range words {
			a, b := magnitudes(i, w)
			above := compare64(6, limit, a, b)
			MOVQ(above, bitmaps.Offset(8*(words*i+w)))
			POPCNTQ(above, above)
			SUBQ(above, left)
		}
		for w := range words {
			a, b := magnitudes(i, w)
			equal, chosen := compare64(0, limit, a, b), GP64()
			MOVQ(I32(-1), chosen)
			BZHIQ(left, chosen, chosen)
			PDEPQ(equal, chosen, chosen)
			ORQ(chosen, bitmaps.Offset(8*(words*i+w)))
			POPCNTQ(equal, equal)
			SUBQ(equal, left)
			CMOVQLT(none, left)
		}
	}
	ADDQ(U32(2*D*rowsAtOnce), x.Base)
	ADDQ(U32(D/8*rowsAtOnce), bitmaps.Base)
	DECQ(n)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// compare64 compares two registers of words with limit and returns the mask: 5 is not below, 6 above, 0 equal.
func compare64(predicate uint64, limit, a, b reg.VecVirtual) reg.GPVirtual {
	low, high, m := K(), K(), GP64()
	VPCMPUW(Imm(predicate), limit, a, low)
	VPCMPUW(Imm(predicate), limit, b, high)
	KUNPCKDQ(low, high, low)
	KMOVQ(low, m)
	return m
}

// most is the largest magnitude of a value type, and unit what its scales are multiples of (package sparse).
var (
	most = map[string]float64{"i16": 32767, "i8": 127, "i4": 7}
	unit = map[string]float64{"i16": 1024, "i8": 1, "i4": 1}
)

// pack writes the kept values of rows: as they are, or as integers with an fp16 scale a row.
func pack(values string, D int) {
	TEXT(fmt.Sprintf("pack%sD%d", values, D), NOSPLIT, "func(x *uint16, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, bitmapBytes int, tmp *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("rows of %d channels; bitmapBytes a row, 0 for one bitmap of all. Up to %d bytes are written behind the last row; tmp [%d].", D, 2*D, D+64))
	x, bitmaps := Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	dst, scales := Mem{Base: Load(Param("values"), GP64())}, Mem{Base: Load(Param("scales"), GP64())}
	n, rowBytes, bitmapBytes := Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("rowBytes"), GP64()), Load(Param("bitmapBytes"), GP64())
	p := &packer{values: values, D: D, x: x, bitmaps: bitmaps}
	if values != "f16" {
		p.constants()
	}
	loop("row", n, 1, func() {
		at := Mem{Base: GP64()}
		MOVQ(dst.Base, at.Base)
		switch values {
		case "f16":
			for h := range D / 32 {
				z := ZMM()
				VMOVDQU64(x.Offset(64*h), z)
				p.storeWords(z, h, at)
			}
		case "i16":
			p.step(scales)
			for h := range D / 32 {
				low, high := p.integers(2*h), p.integers(2*h+1)
				VPMOVDW(low, low.AsY())
				VPMOVDW(high, high.AsY())
				VINSERTI64X4(Imm(1), high.AsY(), low, low)
				p.storeWords(low, h, at)
			}
		default:
			p.step(scales)
			p.packBytes(at)
		}
		ADDQ(U32(2*D), x.Base)
		ADDQ(bitmapBytes, bitmaps.Base)
		ADDQ(rowBytes, dst.Base)
		if values != "f16" {
			ADDQ(U32(2), scales.Base)
		}
	})
	VZEROUPPER()
	RET()
}

type packer struct {
	values          string
	D               int
	x, bitmaps      Mem
	mask, low, high reg.VecVirtual
	eight, pairs    reg.VecVirtual // i4: to unsigned, and two to a byte
	mostOf, unitOf  reg.VecVirtual
	back            reg.VecVirtual
	scale           reg.VecVirtual // of the row
	some            reg.OpmaskVirtual
}

func (p *packer) constants() {
	l := avx512
	p.mask = l.broadcast(0x7fff7fff)
	f := func(v float64) reg.VecVirtual { return l.broadcast(math.Float32bits(float32(v))) }
	p.low, p.high, p.mostOf = f(-most[p.values]), f(most[p.values]), f(most[p.values])
	if unit[p.values] != 1 {
		p.unitOf, p.back = f(unit[p.values]), f(1/unit[p.values])
	}
	if p.values == "i4" {
		p.eight, p.pairs = l.broadcast(0x08080808), l.broadcast(0x10011001)
	}
}

// step writes the row's scale, absmax / most · unit in fp16, and keeps what it stands for.
func (p *packer) step(scales Mem) {
	top, t := ZMM(), ZMM()
	VPANDD(p.x, p.mask, top)
	for h := 1; h < p.D/32; h++ {
		VPANDD(p.x.Offset(64*h), p.mask, t)
		VPMAXUW(t, top, top)
	}
	y := YMM()
	VEXTRACTI64X4(Imm(1), top, y)
	VPMAXUW(y, top.AsY(), top.AsY())
	VEXTRACTI128(Imm(1), top.AsY(), y.AsX())
	VPMAXUW(y.AsX(), top.AsX(), top.AsX())
	// the least of eight words is what the processor finds: of their complements
	ones := XMM()
	VPCMPEQW(ones, ones, ones)
	VPXOR(ones, top.AsX(), top.AsX())
	VPHMINPOSUW(top.AsX(), top.AsX())
	VPXOR(ones, top.AsX(), top.AsX())
	s := XMM()
	VCVTPH2PS(top.AsX(), s)
	VDIVSS(p.mostOf.AsX(), s, s)
	if p.unitOf != nil {
		VMULSS(p.unitOf.AsX(), s, s)
	}
	VCVTPS2PH(Imm(0), s, s)
	VPEXTRW(Imm(0), s, scales)
	VCVTPH2PS(s, s)
	if p.back != nil {
		VMULSS(p.back.AsX(), s, s)
	}
	p.scale = ZMM()
	VBROADCASTSS(s, p.scale)
	zeros := ZMM()
	zero(zeros)
	p.some = K()
	VCMPPS(Imm(4), zeros, p.scale, p.some)
}

// integers returns 16 channels from 16·i on, divided by the scale and rounded half to even; zeros where the scale is 0.
func (p *packer) integers(i int) reg.VecVirtual {
	z := ZMM()
	VCVTPH2PS(p.x.Offset(32*i), z)
	VDIVPS(p.scale, z, z)
	VMAXPS(p.low, z, z)
	VMINPS(p.high, z, z)
	VCVTPS2DQ_Z(z, p.some, z)
	return z
}

// storeWords writes the kept ones of channels 32h … 32h+31 and moves on behind them.
func (p *packer) storeWords(z reg.VecVirtual, h int, at Mem) {
	k, n := K(), GP64()
	KMOVD(p.bitmaps.Offset(4*h), k)
	VPCOMPRESSW_Z(z, k, z)
	VMOVDQU64(z, at)
	POPCNTL(p.bitmaps.Offset(4*h), n.As32())
	LEAQ(Mem{Base: at.Base, Index: n, Scale: 2}, at.Base)
}

// packBytes writes the kept channels as bytes or, for i4, two to a byte.
func (p *packer) packBytes(at Mem) {
	to := at
	if p.values == "i4" && p.D > 64 { // words may begin in the middle of a byte: first bytes, then two to one
		to = Mem{Base: Load(Param("tmp"), GP64())}
	}
	for w := range p.D / 64 {
		z := p.integers(4 * w)
		VPMOVDB(z, z.AsX())
		for i := 1; i < 4; i++ {
			more := p.integers(4*w + i)
			VPMOVDB(more, more.AsX())
			VINSERTI32X4(Imm(uint64(i)), more.AsX(), z, z)
		}
		k := K()
		KMOVQ(p.bitmaps.Offset(8*w), k)
		if p.values == "i4" {
			VPADDB(p.eight, z, z)
		}
		VPCOMPRESSB_Z(z, k, z)
		if p.values == "i4" && p.D == 64 {
			p.storePairs(z, at)
			return
		}
		VMOVDQU64(z, to)
		n := GP64()
		POPCNTQ(p.bitmaps.Offset(8*w), n)
		ADDQ(n, to.Base)
	}
	if p.values == "i4" {
		tmp := Mem{Base: Load(Param("tmp"), GP64())}
		for i := range p.D / 64 {
			z := ZMM()
			VMOVDQU64(tmp.Offset(64*i), z)
			p.storePairs(z, at.Offset(32*i))
		}
	}
}

// storePairs writes 64 numbers below 16 as 32 bytes, the first of two in the low half.
func (p *packer) storePairs(z reg.VecVirtual, at Mem) {
	VPMADDUBSW(p.pairs, z, z)
	VPMOVWB(z, z.AsY())
	VMOVDQU(z.AsY(), at)
}

func encode() {
	chooseAVX2()
	for _, v := range []string{"f16", "i16", "i8", "i4"} {
		packAVX2(v)
	}
	for _, D := range headDims {
		choose(D)
		for _, v := range []string{"f16", "i16", "i8", "i4"} {
			pack(v, D)
		}
	}
}
