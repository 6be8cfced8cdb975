package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quantise rounds f32 to int8 by absmax/127 of each 32, into a panel of package products.
func (l level) quantise() {
	if l.bytes != 32 {
		return // ymm registers do it at every level
	}
	TEXT("quantise"+l.suffix, NOSPLIT, "func(q *int8, scales *float32, x *float32, blocks, stride, m4 int)")
	Pragma("noescape")
	Doc("one row of a panel: q = x / d rounded half to even, d = absmax/127 of each 32; its scales, m4 bytes apart; blocks are stride bytes apart.")
	q, scales, x := Mem{Base: Load(Param("q"), GP64())}, Mem{Base: Load(Param("scales"), GP64())}, Mem{Base: Load(Param("x"), GP64())}
	n, stride, m4 := Load(Param("blocks"), GP64()).(reg.GPVirtual), Load(Param("stride"), GP64()), Load(Param("m4"), GP64())
	abs, order := l.broadcast(0x7fffffff), YMM()
	VMOVDQU(packOrder(), order)
	top127, r := XMM(), GP32()
	MOVL(U32(0x42fe0000), r) // 127
	VMOVD(r, top127)
	loop("block", n, 1, func() {
		var v [4]reg.VecVirtual
		top, t := YMM(), YMM()
		for i := range v {
			v[i] = YMM()
			VMOVUPS(x.Offset(32*i), v[i])
		}
		VANDPS(v[0], abs, top)
		for _, r := range v[1:] {
			VANDPS(r, abs, t)
			VMAXPS(t, top, top)
		}
		VEXTRACTF128(Imm(1), top, t.AsX())
		VMAXPS(t.AsX(), top.AsX(), top.AsX())
		for _, swap := range []uint64{0x4e, 0xb1} {
			VSHUFPS(Imm(swap), top.AsX(), top.AsX(), t.AsX())
			VMAXPS(t.AsX(), top.AsX(), top.AsX())
		}
		// a block of zeros divides 127 by 0: the mask makes its inverse 0 instead of Inf
		inverse, nonzero, d := YMM(), XMM(), XMM()
		VXORPS(nonzero, nonzero, nonzero)
		VCMPSS(Imm(4), nonzero, top.AsX(), nonzero)
		VDIVSS(top.AsX(), top127, inverse.AsX())
		VANDPS(nonzero, inverse.AsX(), inverse.AsX())
		VBROADCASTSS(inverse.AsX(), inverse)
		VDIVSS(top127, top.AsX(), d)
		rounded := XMM()
		VCVTPS2PH(Imm(0), d, rounded)
		VCVTPH2PS(rounded, rounded)
		var sum [2]reg.VecVirtual
		for i, r := range v {
			VMULPS(inverse, r, r)
			VCVTPS2DQ(r, r)
			if i%2 == 1 {
				sum[i/2] = YMM()
				VPADDD(r, v[i-1], sum[i/2])
			}
		}
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPACKSSWB(v[2], v[0], v[0])
		VPERMD(v[0], order, v[0])
		VMOVDQU(v[0], q)
		VMOVSS(rounded, scales)
		at := GP64()
		MOVQ(scales.Base, at)
		half := XMM()
		VPADDD(sum[0], sum[1], t)
		for i, s := range []reg.VecVirtual{t, sum[0], sum[1]} {
			VEXTRACTI128(Imm(1), s, half)
			VPADDD(half, s.AsX(), s.AsX())
			for _, swap := range []uint64{0x4e, 0xb1} {
				VPSHUFD(Imm(swap), s.AsX(), half)
				VPADDD(half, s.AsX(), s.AsX())
			}
			VCVTDQ2PS(s.AsX(), s.AsX())
			if i == 0 {
				VMULSS(d, s.AsX(), half)
				VCVTPS2PH(Imm(0), half, half)
				VCVTPH2PS(half, half)
				ADDQ(m4, at)
				VMOVSS(half, Mem{Base: at})
			}
			VMULSS(rounded, s.AsX(), s.AsX())
			ADDQ(m4, at)
			VMOVSS(s.AsX(), Mem{Base: at})
		}
		ADDQ(U32(128), x.Base)
		ADDQ(stride, q.Base)
		ADDQ(stride, scales.Base)
	})
	VZEROUPPER()
	RET()
}

// packOrder undoes the interleaving of 128-bit lanes by two packs.
func packOrder() Mem {
	return global("packOrder", func() {
		for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
			DATA(4*i, U32(v))
		}
	})
}
