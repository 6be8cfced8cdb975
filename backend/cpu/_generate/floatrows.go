package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Attention of a decode step over expanded rows: what AVX2 does with every codec, and AVX-512 with those that it has no kernels for.

// rowDots multiplies rows of f32 with one query, eight rows at a time: as many chains of sums as hide an FMA's latency.
func rowDots() {
	TEXT("rowDotsAVX2", NOSPLIT, "func(out, rows, q *float32, rows8, columns int)")
	Pragma("noescape")
	Doc("8·rows8 products of rows with q; columns a multiple of 8.")
	out, x := Mem{Base: Load(Param("out"), GP64())}, Load(Param("rows"), GP64()).(reg.GPVirtual)
	n, stride := Load(Param("rows8"), GP64()).(reg.GPVirtual), Load(Param("columns"), GP64()).(reg.GPVirtual)
	SHLQ(Imm(2), stride)
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	loop("rows", n, 1, func() {
		first, second := GP64(), GP64()
		MOVQ(x, first)
		LEAQ(Mem{Base: x, Index: stride, Scale: 4}, second)
		LEAQ(Mem{Base: x, Index: stride, Scale: 8}, x)
		q, left := Mem{Base: Load(Param("q"), GP64())}, Load(Param("columns"), GP64()).(reg.GPVirtual)
		sums := avx2.zeros(8)
		rows := addresses{bases: []reg.GPVirtual{first, second}, s: stride, s3: stride3}
		loop("columns", left, 8, func() {
			y := avx2.load(q)
			for i, sum := range sums {
				VFMADD231PS(rows.row(i), y, sum)
			}
			ADDQ(U32(32), q.Base)
			rows.advance(32)
		})
		// lanes of eight registers to eight sums
		for width := 8; width > 2; width /= 2 {
			for i := 0; i < width; i += 2 {
				VHADDPS(sums[i+1], sums[i], sums[i/2])
			}
		}
		low, high := YMM(), YMM()
		VPERM2F128(U8(0x20), sums[1], sums[0], low)
		VPERM2F128(U8(0x31), sums[1], sums[0], high)
		VADDPS(high, low, low)
		VMOVUPS(low, out)
		ADDQ(U32(32), out.Base)
	})
	VZEROUPPER()
	RET()
}

// rowSums: acc = acc·factor + Σ weight·row, 64 columns at a time.
func rowSums() {
	TEXT("rowSumsAVX2", NOSPLIT, "func(acc, rows, weights *float32, factor float32, n, columns int)")
	Pragma("noescape")
	Doc("n weighted rows added to acc·factor; columns a multiple of 64.")
	acc, x := Mem{Base: Load(Param("acc"), GP64())}, Load(Param("rows"), GP64()).(reg.GPVirtual)
	stride, blocks := Load(Param("columns"), GP64()).(reg.GPVirtual), GP64()
	MOVQ(stride, blocks)
	SHLQ(Imm(2), stride)
	loop("columns", blocks, 64, func() {
		var sums [8]reg.VecVirtual
		factor := YMM()
		addr, _ := Param("factor").Resolve()
		VBROADCASTSS(addr.Addr, factor)
		for i := range sums {
			sums[i] = YMM()
			VMULPS(acc.Offset(32*i), factor, sums[i])
		}
		row, weights, n := Mem{Base: GP64()}, Mem{Base: Load(Param("weights"), GP64())}, Load(Param("n"), GP64()).(reg.GPVirtual)
		MOVQ(x, row.Base)
		loop("rows", n, 1, func() {
			w := YMM()
			VBROADCASTSS(weights, w)
			for i, sum := range sums {
				VFMADD231PS(row.Offset(32*i), w, sum)
			}
			ADDQ(stride, row.Base)
			ADDQ(U32(4), weights.Base)
		})
		for i, sum := range sums {
			VMOVUPS(sum, acc.Offset(32*i))
		}
		ADDQ(U32(256), acc.Base)
		ADDQ(U32(256), x)
	})
	VZEROUPPER()
	RET()
}
