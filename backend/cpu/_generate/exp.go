package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// expCoefficients are those of 2^f on [-½, ½] by powers of f, from the highest to the constant: minimax with 2^0 = 1, relative error 2e-7 in f32.
var expCoefficients = []float64{0.00132647269, 0.00967151266, 0.0555073374, 0.240222421, 0.693146978, 1}

// exponential computes exp(x) of registers, for x from -∞ (but finite) to 88. Its constants stay in registers where there are 32 of them.
type exponential struct {
	level
	log2e        Op
	coefficients []Op
	low, bias    Op // AVX2: -126, and 127 as an integer
}

func newExponential(l level) *exponential {
	e := &exponential{level: l, log2e: l.float(math.Log2E)}
	for _, c := range expCoefficients {
		e.coefficients = append(e.coefficients, l.float(c))
	}
	if l.bytes == 32 {
		e.low, e.bias = l.float(-126), l.constant(127)
	}
	return e
}

// float is a register's worth of an f32 constant, constant of a 32-bit one: in a register at AVX-512, else in memory.
func (l level) float(v float64) Op { return l.constant(math.Float32bits(float32(v))) }

func (l level) constant(v uint32) Op {
	if l.bytes == 64 {
		return l.broadcast(v)
	}
	return global(fmt.Sprintf("all%08x", v), func() {
		for i := range 8 {
			DATA(4*i, U32(v))
		}
	})
}

// of replaces each register by its exponential; several at a time hide the latency of the polynomial.
func (e *exponential) of(xs ...reg.VecVirtual) {
	whole, sum := make([]reg.VecVirtual, len(xs)), make([]reg.VecVirtual, len(xs))
	for i, x := range xs {
		whole[i] = e.vec()
		VMULPS(e.log2e, x, x)
		if e.bytes == 64 {
			VRNDSCALEPS(U8(8), x, whole[i])
		} else {
			VMAXPS(e.low, x, x)
			VROUNDPS(U8(8), x, whole[i])
		}
		VSUBPS(whole[i], x, x)
		sum[i] = e.vec()
		VMOVUPS(e.coefficients[0], sum[i])
	}
	for _, c := range e.coefficients[1:] {
		for i, x := range xs {
			VFMADD213PS(c, x, sum[i])
		}
	}
	for i, x := range xs {
		if e.bytes == 64 {
			VSCALEFPS(whole[i], sum[i], x)
			continue
		}
		VCVTPS2DQ(whole[i], whole[i])
		VPADDD(e.bias, whole[i], whole[i])
		VPSLLD(Imm(23), whole[i], whole[i])
		VMULPS(whole[i], sum[i], x)
	}
}

// spread leaves the combination of all lanes of r in every lane of it.
func (l level) spread(r reg.VecVirtual, combine func(ops ...Op)) {
	t := l.vec()
	if l.bytes == 64 {
		VSHUFF64X2(U8(0x4e), r, r, t)
		combine(t, r, r)
		VSHUFF64X2(U8(0xb1), r, r, t)
		combine(t, r, r)
	} else {
		VPERM2F128(U8(1), r, r, t)
		combine(t, r, r)
	}
	for _, swap := range []uint8{0x4e, 0xb1} {
		VSHUFPS(U8(swap), r, r, t)
		combine(t, r, r)
	}
}
