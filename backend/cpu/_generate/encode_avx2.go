package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Compression of rows at AVX2: as encode.go, with comparisons whose masks are gathered from bytes, and values picked out by PEXT.

// chooseAVX2 is choose. Magnitudes have 15 bits, so signed comparisons do.
func chooseAVX2() {
	TEXT("chooseAVX2", NOSPLIT, "func(x *uint16, bitmaps *uint64, rows, keep, words int)")
	Pragma("noescape")
	Doc("rows of 64·words channels.")
	l := avx2
	x, bitmaps := Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	n := Load(Param("rows"), GP64()).(reg.GPVirtual)
	mask := l.broadcast(0x7fff7fff)
	// above returns the mask of the 64 channels at x whose magnitude is above limit; equal, of those at it
	gather := func(from Mem, limit reg.VecVirtual, compare func(limit, x, dst reg.VecVirtual)) reg.GPVirtual {
		m, high := GP64(), GP64()
		for i := range 2 {
			a, b := YMM(), YMM()
			VPAND(from.Offset(64*i), mask, a)
			VPAND(from.Offset(64*i+32), mask, b)
			compare(limit, a, a)
			compare(limit, b, b)
			VPACKSSWB(b, a, a)
			VPERMQ(U8(0xd8), a, a)
			if i == 0 {
				VPMOVMSKB(a, m.As32())
			} else {
				VPMOVMSKB(a, high.As32())
			}
		}
		SHLQ(Imm(32), high)
		ORQ(high, m)
		return m
	}
	above := func(limit, x, dst reg.VecVirtual) { VPCMPGTW(limit, x, dst) }
	equal := func(limit, x, dst reg.VecVirtual) { VPCMPEQW(limit, x, dst) }
	all := func(least reg.GPVirtual) reg.VecVirtual {
		y := YMM()
		VMOVD(least.As32(), y.AsX())
		VPBROADCASTW(y.AsX(), y)
		return y
	}
	eachWord := func(label string, body func(from, bitmap Mem)) {
		from, bitmap, left := Mem{Base: GP64()}, Mem{Base: GP64()}, GP64()
		MOVQ(x.Base, from.Base)
		MOVQ(bitmaps.Base, bitmap.Base)
		Load(Param("words"), left)
		loop(label, left, 1, func() {
			body(from, bitmap)
			ADDQ(U32(128), from.Base)
			ADDQ(U32(8), bitmap.Base)
		})
	}
	loop("row", n, 1, func() {
		least, bit := GP64(), GP64()
		XORL(least.As32(), least.As32())
		MOVL(U32(1<<14), bit.As32())
		Label("bit")
		try, count := GP64(), GP64()
		MOVL(least.As32(), try.As32())
		ORL(bit.As32(), try.As32())
		below := GP64()
		LEAL(Mem{Base: try, Disp: -1}, below.As32())
		limit := all(below)
		XORL(count.As32(), count.As32())
		eachWord("countWord", func(from, _ Mem) {
			m := gather(from, limit, above)
			POPCNTQ(m, m)
			ADDQ(m, count)
		})
		keep := Load(Param("keep"), GP64())
		CMPQ(count, keep)
		CMOVLGE(try.As32(), least.As32())
		SHRL(Imm(1), bit.As32())
		JNZ(LabelRef("bit"))
		left, none := GP64(), GP64()
		limit = all(least)
		Load(Param("keep"), left)
		eachWord("aboveWord", func(from, bitmap Mem) {
			m := gather(from, limit, above)
			MOVQ(m, bitmap)
			POPCNTQ(m, m)
			SUBQ(m, left)
		})
		XORL(none.As32(), none.As32())
		eachWord("equalWord", func(from, bitmap Mem) {
			m, chosen := gather(from, limit, equal), GP64()
			MOVQ(I32(-1), chosen)
			BZHIQ(left, chosen, chosen)
			PDEPQ(m, chosen, chosen)
			ORQ(chosen, bitmap)
			POPCNTQ(m, m)
			SUBQ(m, left)
			CMOVQLT(none, left)
		})
		stride := GP64()
		Load(Param("words"), stride)
		LEAQ(Mem{Base: bitmaps.Base, Index: stride, Scale: 8}, bitmaps.Base)
		SHLQ(Imm(7), stride)
		ADDQ(stride, x.Base)
	})
	VZEROUPPER()
	RET()
}

// packAVX2 is pack; x holds 64·words channels a row. Values go out a quadword at a time, PEXT taking the kept ones together.
func packAVX2(values string) {
	TEXT("pack"+values+"AVX2", NOSPLIT, "func(x *uint16, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, bitmapBytes int, tmp *byte, words int)")
	Pragma("noescape")
	Doc("rows of 64·words channels; bitmapBytes a row, 0 for one bitmap of all. Some bytes are written behind the last row; tmp [128·words].")
	x, bitmaps := Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	dst, scales := Mem{Base: Load(Param("values"), GP64())}, Mem{Base: Load(Param("scales"), GP64())}
	n := Load(Param("rows"), GP64()).(reg.GPVirtual)
	perQuad := map[string]int{"f16": 4, "i16": 4, "i8": 8, "i4": 8}[values]
	loop("row", n, 1, func() {
		from := Mem{Base: GP64()}
		if values == "f16" {
			MOVQ(x.Base, from.Base)
		} else {
			integersAVX2(values, x, scales)
			Load(Param("tmp"), from.Base.(reg.GPVirtual))
		}
		// pick the kept ones, perQuad at a time
		at, bits, left := Mem{Base: GP64()}, Mem{Base: GP64()}, GP64()
		if values == "i4" {
			Load(Param("tmp"), at.Base.(reg.GPVirtual)) // bytes, over what was read, then two to a byte
		} else {
			MOVQ(dst.Base, at.Base)
		}
		MOVQ(bitmaps.Base, bits.Base)
		Load(Param("words"), left)
		one := GP64()
		MOVQ(U64(map[int]uint64{4: 0x0001000100010001, 8: 0x0101010101010101}[perQuad]), one)
		loop("word", left, 1, func() {
			word, quads := GP64(), GP64()
			MOVQ(bits, word)
			MOVL(U32(uint32(64/perQuad)), quads.As32())
			loop("quad", quads, 1, func() {
				m, q, c := GP64(), GP64(), GP64()
				PDEPQ(one, word, m)
				POPCNTQ(m, c)
				IMUL3Q(U32(map[int]uint32{4: 0xffff, 8: 0xff}[perQuad]), m, m)
				MOVQ(from, q)
				PEXTQ(m, q, q)
				MOVQ(q, at)
				if perQuad == 4 {
					LEAQ(Mem{Base: at.Base, Index: c, Scale: 2}, at.Base)
				} else {
					ADDQ(c, at.Base)
				}
				SHRQ(Imm(uint64(perQuad)), word)
				ADDQ(U32(8), from.Base)
			})
			ADDQ(U32(8), bits.Base)
		})
		if values == "i4" {
			pairUp(at, dst)
		}
		rowBytes, bitmapBytes, stride := Load(Param("rowBytes"), GP64()), Load(Param("bitmapBytes"), GP64()), Load(Param("words"), GP64()).(reg.GPVirtual)
		ADDQ(rowBytes, dst.Base)
		ADDQ(bitmapBytes, bitmaps.Base)
		SHLQ(Imm(7), stride)
		ADDQ(stride, x.Base)
		if values != "f16" {
			ADDQ(U32(2), scales.Base)
		}
	})
	VZEROUPPER()
	RET()
}

// integersAVX2 writes a row's scale and, to tmp, its channels as integers, in the width in which they are picked out: 16 bits, or bytes.
func integersAVX2(values string, x, scales Mem) {
	l := avx2
	top, left, from := YMM(), GP64(), Mem{Base: GP64()}
	zero(top)
	MOVQ(x.Base, from.Base)
	Load(Param("words"), left)
	loop("top", left, 1, func() {
		for i := range 4 {
			y := YMM()
			VPAND(l.constant(0x7fff7fff), l.load(from.Offset(32*i)), y)
			VPMAXUW(y, top, top)
		}
		ADDQ(U32(128), from.Base)
	})
	half, ones, s := XMM(), XMM(), XMM()
	VEXTRACTI128(Imm(1), top, half)
	VPMAXUW(half, top.AsX(), top.AsX())
	VPCMPEQW(ones, ones, ones)
	VPXOR(ones, top.AsX(), top.AsX())
	VPHMINPOSUW(top.AsX(), top.AsX())
	VPXOR(ones, top.AsX(), top.AsX())
	VCVTPH2PS(top.AsX(), s)
	VDIVSS(l.float(most[values]), s, s)
	if unit[values] != 1 {
		VMULSS(l.float(unit[values]), s, s)
	}
	VCVTPS2PH(Imm(0), s, s)
	VPEXTRW(Imm(0), s, scales)
	VCVTPH2PS(s, s)
	if unit[values] != 1 {
		VMULSS(l.float(1/unit[values]), s, s)
	}
	scale, some := YMM(), YMM()
	VBROADCASTSS(s, scale)
	VXORPS(some, some, some)
	VCMPPS(Imm(4), some, scale, some)
	to := Load(Param("tmp"), GP64()).(reg.GPVirtual)
	MOVQ(x.Base, from.Base)
	Load(Param("words"), left)
	SHLQ(Imm(1), left)
	loop("integers", left, 1, func() { // 32 channels
		var v [4]reg.VecVirtual
		for i := range v {
			v[i] = YMM()
			VCVTPH2PS(from.Offset(16*i), v[i])
			VDIVPS(scale, v[i], v[i])
			VMAXPS(l.float(-most[values]), v[i], v[i])
			VMINPS(l.float(most[values]), v[i], v[i])
			VANDPS(some, v[i], v[i])
			VCVTPS2DQ(v[i], v[i])
		}
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		if values == "i16" {
			VPERMQ(U8(0xd8), v[0], v[0])
			VPERMQ(U8(0xd8), v[2], v[2])
			VMOVDQU(v[0], Mem{Base: to})
			VMOVDQU(v[2], Mem{Base: to, Disp: 32})
			ADDQ(U32(64), to)
		} else {
			order := YMM()
			VPACKSSWB(v[2], v[0], v[0])
			VMOVDQU(packOrder(), order)
			VPERMD(v[0], order, v[0])
			if values == "i4" {
				VPADDB(l.constant(0x08080808), v[0], v[0])
			}
			VMOVDQU(v[0], Mem{Base: to})
			ADDQ(U32(32), to)
		}
		ADDQ(U32(64), from.Base)
	})
}

// load reads a register.
func (l level) load(m Mem) reg.VecVirtual {
	r := l.vec()
	VMOVUPS(m, r)
	return r
}

// pairUp writes the bytes of tmp, up to end, two to a byte; a last one alone gets a zero beside it.
func pairUp(end, dst Mem) {
	l := avx2
	from, to, left := Mem{Base: Load(Param("tmp"), GP64())}, Mem{Base: GP64()}, Load(Param("words"), GP64()).(reg.GPVirtual)
	nothing := GP64()
	XORL(nothing.As32(), nothing.As32())
	MOVQ(nothing, end)
	MOVQ(dst.Base, to.Base)
	SHLQ(Imm(1), left)
	loop("pairs", left, 1, func() { // 32 numbers
		y, x := YMM(), XMM()
		VMOVDQU(from, y)
		ones := YMM()
		VMOVDQU(l.constant(0x10011001).(Mem), ones)
		VPMADDUBSW(ones, y, y)
		VEXTRACTI128(Imm(1), y, x)
		VPACKUSWB(x, y.AsX(), x)
		VMOVDQU(x, to)
		ADDQ(U32(32), from.Base)
		ADDQ(U32(16), to.Base)
	})
}
