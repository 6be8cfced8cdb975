package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unroll is how many registers a float loop keeps in flight, enough to hide an FMA's latency of 4 cycles.
const unroll = 4

// loop runs body while the counter n, a multiple of step, is not 0. n must not start at 0.
func loop(name string, n reg.GPVirtual, step int, body func()) {
	Label(name)
	body()
	SUBQ(U32(step), n)
	JNZ(LabelRef(name))
}

// dot: Σ a·b.
func (l level) dot() {
	TEXT("dot"+l.suffix, NOSPLIT, "func(a, b *float32, n int) float32")
	Pragma("noescape")
	Doc("Σ a·b; n a multiple of 64.")
	a, b, n := Mem{Base: Load(Param("a"), GP64())}, Mem{Base: Load(Param("b"), GP64())}, Load(Param("n"), GP64()).(reg.GPVirtual)
	sums := l.zeros(unroll)
	loop("loop", n, unroll*l.lanes(), func() {
		for i, sum := range sums {
			x := l.vec()
			VMOVUPS(a.Offset(i*l.bytes), x)
			VFMADD231PS(b.Offset(i*l.bytes), x, sum)
		}
		ADDQ(U32(unroll*l.bytes), a.Base)
		ADDQ(U32(unroll*l.bytes), b.Base)
	})
	VADDPS(sums[0], sums[1], sums[0])
	VADDPS(sums[2], sums[3], sums[2])
	VADDPS(sums[0], sums[2], sums[0])
	Store(sumLanes(sums[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// axpy: y += p·x.
func (l level) axpy() {
	TEXT("axpy"+l.suffix, NOSPLIT, "func(y *float32, p float32, x *float32, n int)")
	Pragma("noescape")
	Doc("y += p·x; n a multiple of 16.")
	y, x, n := Mem{Base: Load(Param("y"), GP64())}, Mem{Base: Load(Param("x"), GP64())}, Load(Param("n"), GP64()).(reg.GPVirtual)
	p := l.vec()
	addr, _ := Param("p").Resolve()
	VBROADCASTSS(addr.Addr, p)
	loop("loop", n, 16, func() {
		for i := range 64 / l.bytes {
			r := l.vec()
			VMOVUPS(y.Offset(i*l.bytes), r)
			VFMADD231PS(x.Offset(i*l.bytes), p, r)
			VMOVUPS(r, y.Offset(i*l.bytes))
		}
		ADDQ(U32(64), y.Base)
		ADDQ(U32(64), x.Base)
	})
	VZEROUPPER()
	RET()
}

// halves: fp16 to f32.
func (l level) halves() {
	TEXT("halves"+l.suffix, NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	Doc("dst = src as f32; n a multiple of 16.")
	dst, src, n := Mem{Base: Load(Param("dst"), GP64())}, Mem{Base: Load(Param("src"), GP64())}, Load(Param("n"), GP64()).(reg.GPVirtual)
	loop("loop", n, 16, func() {
		for i := range 64 / l.bytes {
			r := l.vec()
			VCVTPH2PS(src.Offset(i*l.bytes/2), r)
			VMOVUPS(r, dst.Offset(i*l.bytes))
		}
		ADDQ(U32(64), dst.Base)
		ADDQ(U32(32), src.Base)
	})
	VZEROUPPER()
	RET()
}

// toHalves: f32 to fp16, half to even.
func (l level) toHalves() {
	TEXT("toHalves"+l.suffix, NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	Doc("dst = src as fp16, half to even; n a multiple of 16.")
	dst, src, n := Mem{Base: Load(Param("dst"), GP64())}, Mem{Base: Load(Param("src"), GP64())}, Load(Param("n"), GP64()).(reg.GPVirtual)
	loop("loop", n, 16, func() {
		for i := range 64 / l.bytes {
			r := l.vec()
			VMOVUPS(src.Offset(i*l.bytes), r)
			VCVTPS2PH(Imm(0), r, dst.Offset(i*l.bytes/2))
		}
		ADDQ(U32(32), dst.Base)
		ADDQ(U32(64), src.Base)
	})
	VZEROUPPER()
	RET()
}
