package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockRows is the number of rows of K and V that are stored, and attended to, together.
const blockRows = 64

// nothing is the score of a row that is not there: finite, so that differences are numbers, and far below all others.
const nothing = -1e30

// softmax passes blocks of scores through the online softmax, a query after the other: of the first n of 64 scores the maximum joins the query's own,
// scores become weights exp(score - maximum), and what was summed before is to be multiplied by factor.
//
//	scores [64]  →  weights    m → max    factor = exp(m - max)    l → l·factor + Σ weights
func (l level) softmax() {
	TEXT("softmax"+l.suffix, NOSPLIT, "func(scores, m, sum, factor *float32, n *int32, queries int)")
	Pragma("noescape")
	Doc("one block of 64 scores a query; n [queries] says how many of them count.")
	scores := Mem{Base: Load(Param("scores"), GP64())}
	ms, sums, factors := Mem{Base: Load(Param("m"), GP64())}, Mem{Base: Load(Param("sum"), GP64())}, Mem{Base: Load(Param("factor"), GP64())}
	n, queries := Mem{Base: Load(Param("n"), GP64())}, Load(Param("queries"), GP64()).(reg.GPVirtual)
	e := newExponential(l)
	none := l.float(nothing)
	registers := blockRows / l.lanes()
	loop("query", queries, 1, func() {
		x := make([]reg.VecVirtual, registers)
		for i := range x {
			x[i] = l.vec()
			VMOVUPS(scores.Offset(i*l.bytes), x[i])
		}
		whole := GP32()
		MOVL(n, whole)
		CMPL(whole, Imm(blockRows))
		JE(LabelRef("all"))
		l.hide(x, whole, none)
		Label("all")
		top := l.vec()
		VMAXPS(x[0], x[1], top)
		for _, r := range x[2:] {
			VMAXPS(r, top, top)
		}
		l.spread(top, VMAXPS)
		before := l.vec()
		VBROADCASTSS(ms, before)
		VMAXPS(before, top, top)
		VMOVSS(top.AsX(), ms)
		VSUBPS(top, before, before)
		for _, r := range x {
			VSUBPS(top, r, r)
		}
		if l.bytes == 64 {
			e.of(append([]reg.VecVirtual{before}, x...)...)
		} else { // not enough registers for more
			e.of(before)
			for i := 0; i < len(x); i += 2 {
				e.of(x[i : i+2]...)
			}
		}
		total := l.vec()
		VADDPS(x[0], x[1], total)
		for _, r := range x[2:] {
			VADDPS(r, total, total)
		}
		l.spread(total, VADDPS)
		VFMADD231SS(sums, before.AsX(), total.AsX())
		VMOVSS(total.AsX(), sums)
		VMOVSS(before.AsX(), factors)
		for i, r := range x {
			VMOVUPS(r, scores.Offset(i*l.bytes))
		}
		ADDQ(U32(4*blockRows), scores.Base)
		for _, p := range []Mem{ms, sums, factors, n} {
			ADDQ(U32(4), p.Base)
		}
	})
	VZEROUPPER()
	RET()
}

// hide replaces the lanes from n on by none.
func (l level) hide(x []reg.VecVirtual, n reg.GPVirtual, none Op) {
	if l.bytes == 64 {
		// bits below n, for each register its sixteen
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(n.As64(), bits, bits)
		for _, r := range x {
			k := K()
			KMOVW(bits.As32(), k)
			VBLENDMPS(r, none, k, r)
			SHRQ(Imm(16), bits)
		}
		return
	}
	away := YMM()
	VMOVUPS(none, away)
	for i, r := range x {
		limit := YMM()
		left := GP32()
		MOVL(n, left)
		SUBL(U32(uint32(i*l.lanes())), left)
		VMOVD(left, limit.AsX())
		VPBROADCASTD(limit.AsX(), limit)
		VPCMPGTD(lanes(), limit, limit) // lanes that count
		VBLENDVPS(limit, r, away, r)
	}
}

// lanes are the numbers 0 … 7.
func lanes() Mem {
	return global("lanes", func() {
		for i := range 8 {
			DATA(4*i, U32(uint32(i)))
		}
	})
}

// transpose writes rows of f32 as columns of 64: dst [columns][64] from src [64][columns].
func (l level) transpose() {
	if l.bytes != 32 {
		return // ymm registers do it at every level
	}
	TEXT("transpose"+l.suffix, NOSPLIT, "func(dst, src *float32, columns int)")
	Pragma("noescape")
	Doc("dst [columns][64] from src [64][columns]; columns a multiple of 8.")
	stride := GP64()
	columns := Load(Param("columns"), GP64()).(reg.GPVirtual)
	MOVQ(columns, stride)
	SHLQ(Imm(2), stride)
	dst, src := Mem{Base: Load(Param("dst"), GP64())}, Load(Param("src"), GP64())
	loop("columns", columns, 8, func() {
		rows, to, n := GP64(), GP64(), GP64()
		MOVQ(src, rows)
		MOVQ(dst.Base, to)
		MOVQ(U32(blockRows), n)
		loop("rows", n, 8, func() {
			at := GP64()
			MOVQ(rows, at)
			r := make([]reg.VecVirtual, 8)
			for i := range r {
				r[i] = YMM()
				VMOVUPS(Mem{Base: at}, r[i])
				ADDQ(stride, at)
			}
			MOVQ(at, rows)
			for i, c := range transpose8(r) {
				VMOVUPS(c, Mem{Base: to, Disp: 4 * blockRows * i})
			}
			ADDQ(U32(32), to)
		})
		ADDQ(U32(8*4*blockRows), dst.Base)
		ADDQ(U32(32), src)
	})
	VZEROUPPER()
	RET()
}

// transpose8 transposes an 8 × 8 matrix in registers.
func transpose8(r []reg.VecVirtual) []reg.VecVirtual {
	for i := 0; i < 8; i += 2 {
		low := YMM()
		VUNPCKLPS(r[i+1], r[i], low)
		VUNPCKHPS(r[i+1], r[i], r[i+1])
		r[i] = low
	}
	quads := make([]reg.VecVirtual, 8)
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			a, b := YMM(), YMM()
			VUNPCKLPD(r[i+2+j], r[i+j], a)
			VUNPCKHPD(r[i+2+j], r[i+j], b)
			quads[i+2*j], quads[i+2*j+1] = a, b
		}
	}
	out := make([]reg.VecVirtual, 8)
	for j := range 4 {
		out[j], out[4+j] = YMM(), YMM()
		VPERM2F128(U8(0x20), quads[4+j], quads[j], out[j])
		VPERM2F128(U8(0x31), quads[4+j], quads[j], out[4+j])
	}
	return out
}
