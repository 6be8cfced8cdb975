package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scaleBy: y = x·scale·w, the second half of RMSNorm.
func (l level) scaleBy() {
	TEXT("scaleBy"+l.suffix, NOSPLIT, "func(y, x, w *float32, scale float32, n int)")
	Pragma("noescape")
	Doc("y = x·scale·w; n a multiple of 16.")
	y, x, w := Mem{Base: Load(Param("y"), GP64())}, Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("w"), GP64())}
	n, scale := Load(Param("n"), GP64()).(reg.GPVirtual), l.vec()
	addr, _ := Param("scale").Resolve()
	VBROADCASTSS(addr.Addr, scale)
	l.each16(n, []Mem{y, x, w}, func(i int) {
		r := l.vec()
		VMULPS(x.Offset(i), scale, r)
		VMULPS(w.Offset(i), r, r)
		VMOVUPS(r, y.Offset(i))
	})
	VZEROUPPER()
	RET()
}

// each16 runs body for every register of 16 f32, with its offset in bytes, and moves the pointers on.
func (l level) each16(n reg.GPVirtual, pointers []Mem, body func(offset int)) {
	loop("loop", n, 16, func() {
		for i := 0; i < 64; i += l.bytes {
			body(i)
		}
		for _, p := range pointers {
			ADDQ(U32(64), p.Base)
		}
	})
}

// swiglu: y = gate/(1 + exp(-gate))·up.
func (l level) swiglu() {
	TEXT("swiglu"+l.suffix, NOSPLIT, "func(y, gate, up *float32, n int)")
	Pragma("noescape")
	Doc("y = gate/(1 + exp(-gate))·up; n a multiple of 16.")
	y, g, u := Mem{Base: Load(Param("y"), GP64())}, Mem{Base: Load(Param("gate"), GP64())}, Mem{Base: Load(Param("up"), GP64())}
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	e, sign, one, most := newExponential(l), l.constant(0x80000000), l.float(1), l.float(87)
	l.each16(n, []Mem{y, g, u}, func(i int) {
		x, t := l.vec(), l.vec()
		VMOVUPS(g.Offset(i), x)
		VXORPS(sign, x, t)
		VMINPS(most, t, t) // beyond, exp overflows: the quotient is 0 to f32
		e.of(t)
		VADDPS(one, t, t)
		VDIVPS(t, x, x)
		VMULPS(u.Offset(i), x, x)
		VMOVUPS(x, y.Offset(i))
	})
	VZEROUPPER()
	RET()
}

// rope turns pairs of neighbours: x = x·c + swapped(x)·s, where c holds each cosine twice and s each sine, negated and as it is.
func (l level) rope() {
	TEXT("rope"+l.suffix, NOSPLIT, "func(x, c, s *float32, n int)")
	Pragma("noescape")
	Doc("x = x·c + (x with neighbours swapped)·s; n a multiple of 16.")
	x, c, s := Mem{Base: Load(Param("x"), GP64())}, Mem{Base: Load(Param("c"), GP64())}, Mem{Base: Load(Param("s"), GP64())}
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	l.each16(n, []Mem{x, c, s}, func(i int) {
		r, swapped := l.vec(), l.vec()
		VMOVUPS(x.Offset(i), r)
		VPERMILPS(U8(0xb1), r, swapped)
		VMULPS(c.Offset(i), r, r)
		VFMADD231PS(s.Offset(i), swapped, r)
		VMOVUPS(r, x.Offset(i))
	})
	VZEROUPPER()
	RET()
}
