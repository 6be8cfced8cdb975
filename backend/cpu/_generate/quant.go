package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// broadcast32 fills a ymm register with a 32-bit constant.
func broadcast32(v uint32) reg.VecVirtual {
	r, y := GP32(), YMM()
	MOVL(U32(v), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}

// dotBytes adds to sum (8 int32) the products of 32 unsigned bytes u with 32 signed ones.
func (l level) dotBytes(u reg.VecVirtual, q Op, ones, sum reg.VecVirtual) {
	if l.vnni {
		VPDPBUSD(q, u, sum)
		return
	}
	t := YMM()
	VPMADDUBSW(q, u, t)
	VPMADDWD(ones, t, t)
	VPADDD(t, sum, sum)
}

// dotQRow starts a product of a quantised row of 32-column blocks with int8 activations. block gets the addresses of a block's weights, its 32
// activations and their {d, d·Σq}.
func (l level) dotQRow(name, doc string, blockBytes int, start func(), block func(w, q, ds Mem), end func() reg.VecVirtual) {
	TEXT(name+l.suffix, NOSPLIT, "func(w *byte, q *int8, ds *float32, blocks int) float32")
	Pragma("noescape")
	Doc(doc)
	w, q, ds := Mem{Base: Load(Param("w"), GP64())}, Mem{Base: Load(Param("q"), GP64())}, Mem{Base: Load(Param("ds"), GP64())}
	n := Load(Param("blocks"), GP64()).(reg.GPVirtual)
	start()
	loop("loop", n, 1, func() {
		block(w, q, ds)
		ADDQ(U32(blockBytes), w.Base)
		ADDQ(U32(32), q.Base)
		ADDQ(U32(8), ds.Base)
	})
	Store(end(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// nibbles loads 16 bytes as 32 numbers of 4 bits: the low halves, then the high ones.
func nibbles(w Mem, mask reg.VecVirtual) reg.VecVirtual {
	u, high := YMM(), XMM()
	VMOVDQU(w, u.AsX())
	VPSRLW(Imm(4), u.AsX(), high)
	VINSERTI128(Imm(1), high, u, u)
	VPAND(mask, u, u)
	return u
}

// dotQ4 is Q4_1 (d, m, nibbles) or Q4_0 (d, nibbles; m = -8d).
func (l level) dotQ4(withMin bool) {
	name, size, quants := "dotQ4x0", 18, 2
	if withMin {
		name, size, quants = "dotQ4x1", 20, 4
	}
	var mask, ones, sum, mins reg.VecVirtual
	l.dotQRow(name, "one row of 4-bit blocks of 32, as the file holds it, times quantised activations.", size, func() {
		mask, sum, mins = broadcast32(0x0f0f0f0f), YMM(), XMM()
		if !l.vnni {
			ones = broadcast32(0x00010001)
		}
		zero(sum)
		zero(mins)
	}, func(w, q, ds Mem) {
		u, dot := nibbles(w.Offset(quants), mask), YMM()
		VPXOR(dot, dot, dot)
		l.dotBytes(u, q, ones, dot)
		VCVTDQ2PS(dot, dot)
		scale, a, d := XMM(), XMM(), YMM()
		VMOVSD(ds, a) // {d, d·Σq} of the activations
		if withMin {
			VMOVD(w, scale)
			VCVTPH2PS(scale, scale) // {d, m}
		} else {
			h := GP32()
			MOVWLZX(w, h)
			VMOVD(h, scale)
			VCVTPH2PS(scale, scale)
			VMOVSLDUP(scale, scale) // {d, d}
		}
		VMULPS(a, scale, scale)
		VADDPS(scale, mins, mins) // lane 1 counts
		VBROADCASTSS(scale, d)
		VFMADD231PS(dot, d, sum)
	}, func() reg.VecVirtual {
		total := sumLanes(sum)
		m := XMM()
		VMOVSHDUP(mins, m)
		if withMin {
			VADDSS(m, total, total)
		} else {
			eight, r := XMM(), GP32()
			MOVL(U32(0xc1000000), r) // -8
			VMOVD(r, eight)
			VFMADD231SS(eight, m, total)
		}
		return total
	})
}

// dotQ8 is Q8_0: d, 32 signed bytes. The sign of the weight goes to the activation, so that the weight becomes unsigned.
func (l level) dotQ8() {
	var ones, sum reg.VecVirtual
	l.dotQRow("dotQ8x0", "one row of Q8_0 blocks, as the file holds it, times quantised activations.", 34, func() {
		sum = YMM()
		if !l.vnni {
			ones = broadcast32(0x00010001)
		}
		zero(sum)
	}, func(w, q, ds Mem) {
		u, s, dot := YMM(), YMM(), YMM()
		VMOVDQU(w.Offset(2), u)
		VMOVDQU(q, s)
		VPSIGNB(u, s, s)
		VPABSB(u, u)
		VPXOR(dot, dot, dot)
		l.dotBytes(u, s, ones, dot)
		VCVTDQ2PS(dot, dot)
		h, d := GP32(), YMM()
		MOVWLZX(w, h)
		VMOVD(h, d.AsX())
		VCVTPH2PS(d.AsX(), d.AsX())
		VMULSS(ds, d.AsX(), d.AsX())
		VBROADCASTSS(d.AsX(), d)
		VFMADD231PS(dot, d, sum)
	}, func() reg.VecVirtual { return sumLanes(sum) })
}

// quantise rounds f32 to int8 by absmax/127 of each 32.
func (l level) quantise() {
	if l.vnni {
		return // 256-bit registers do it at every level
	}
	TEXT("quantise"+l.suffix, NOSPLIT, "func(q *int8, ds *float32, x *float32, groups int)")
	Pragma("noescape")
	Doc("q = x / d rounded half to even, d = absmax/127 of each 32; ds = {d, d·Σq} a group.")
	q, ds, x := Mem{Base: Load(Param("q"), GP64())}, Mem{Base: Load(Param("ds"), GP64())}, Mem{Base: Load(Param("x"), GP64())}
	n := Load(Param("groups"), GP64()).(reg.GPVirtual)
	abs, order := broadcast32(0x7fffffff), YMM()
	VMOVDQU(packOrder(), order)
	top127, r := XMM(), GP32()
	MOVL(U32(0x42fe0000), r) // 127
	VMOVD(r, top127)
	loop("loop", n, 1, func() {
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
		// a group of zeros divides 127 by 0: the mask makes its inverse 0 instead of Inf
		inverse, nonzero, d := YMM(), XMM(), XMM()
		VXORPS(nonzero, nonzero, nonzero)
		VCMPSS(Imm(4), nonzero, top.AsX(), nonzero)
		VDIVSS(top.AsX(), top127, inverse.AsX())
		VANDPS(nonzero, inverse.AsX(), inverse.AsX())
		VBROADCASTSS(inverse.AsX(), inverse)
		VDIVSS(top127, top.AsX(), d)
		sum := YMM()
		for i, r := range v {
			VMULPS(inverse, r, r)
			VCVTPS2DQ(r, r)
			if i == 0 {
				VMOVDQA(r, sum)
			} else {
				VPADDD(r, sum, sum)
			}
		}
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPACKSSWB(v[2], v[0], v[0])
		VPERMD(v[0], order, v[0])
		VMOVDQU(v[0], q)
		VEXTRACTI128(Imm(1), sum, t.AsX())
		VPADDD(t.AsX(), sum.AsX(), sum.AsX())
		for _, swap := range []uint64{0x4e, 0xb1} {
			VPSHUFD(Imm(swap), sum.AsX(), t.AsX())
			VPADDD(t.AsX(), sum.AsX(), sum.AsX())
		}
		VCVTDQ2PS(sum.AsX(), sum.AsX())
		VMULSS(d, sum.AsX(), sum.AsX())
		VMOVSS(d, ds)
		VMOVSS(sum.AsX(), ds.Offset(4))
		ADDQ(U32(128), x.Base)
		ADDQ(U32(32), q.Base)
		ADDQ(U32(8), ds.Base)
	})
	VZEROUPPER()
	RET()
}

// packOrder undoes the interleaving of 128-bit lanes by two packs.
func packOrder() Mem {
	m := GLOBL("packOrder", RODATA|NOPTR)
	for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(v))
	}
	return m
}
