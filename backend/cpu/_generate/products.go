package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of a tile of 16 rows with M rows of quantised activations. Both come in blocks of 32 columns; a panel's block is
//
//	q [M][32] int8    dx [M] f32    r [M] = fp16(d·Σq)    s [M] = dx·Σq    s0, s1 [M]: the same of columns 0 … 15 and 16 … 31
//
// where d is absmax/127 and dx = fp16(d), as ggml keeps it. Types of blocks of 32 with a minimum take it times r, as in ggml; the others are exact.
//
// Every product is, block after block, acc = fma(Σ u·q, d·dx, acc), then acc = fma(min, s, acc), whatever M is and wherever the weights come from: so a
// row's result never depends on its neighbours.

// panelBytes is a block of a panel of m rows.
func panelBytes(m int) int { return 52 * m }

// accumulate adds the products of block b with the panel's block at x to one accumulator a row of activations, some rows together.
func (l level) accumulate(b block, x Mem, acc []reg.VecVirtual, together int) {
	m, groups := len(acc), len(b.d)
	for t0 := 0; t0 < m; t0 += together {
		ts := acc[t0:min(t0+together, m)]
		for g := range groups {
			dots := make([]reg.VecVirtual, len(ts))
			for i := range ts {
				dots[i] = l.vec()
				zero(dots[i])
			}
			for k := g * 8 / groups; k < (g+1)*8/groups; k++ {
				for i := range ts {
					VPDPBUSD_BCST(x.Offset(32*(t0+i)+4*k), b.u[k], dots[i])
				}
			}
			for i, a := range ts {
				VCVTDQ2PS(dots[i], dots[i])
				l.addScaled(b, g, groups, dots[i], x, m, t0+i, a)
			}
		}
	}
}

// addScaled adds group g's share of a product to the accumulator of row t of m: dot·(d·dx), then min·s.
func (l level) addScaled(b block, g, groups int, dot reg.VecVirtual, x Mem, m, t int, acc reg.VecVirtual) {
	array := 2 // s
	switch {
	case groups == 2:
		array = 3 + g
	case b.rounded:
		array = 1
	}
	dx, s := x.Offset(32*m+4*t), x.Offset(4*(8+array)*m+4*t)
	scale := l.vec()
	if l.bytes == 64 {
		VMULPS_BCST(dx, b.d[g], scale)
		VFMADD231PS(dot, scale, acc)
		VFMADD231PS_BCST(s, b.m[g], acc)
		return
	}
	VBROADCASTSS(dx, scale)
	VMULPS(b.d[g], scale, scale)
	VFMADD231PS(dot, scale, acc)
	if g < len(b.m) {
		VBROADCASTSS(s, scale)
		VFMADD231PS(scale, b.m[g], acc)
	}
}

// narrow is a product of AVX2, which multiplies bytes into pairs of 16 bits: several fit before they must be widened.
type narrow struct {
	tileKind
	level
	m            int
	x            Mem
	sum16, sum32 [][2]reg.VecVirtual // a row of activations and group
	n            [2]int              // in sum16, a group
}

func newNarrow(kind tileKind, l level, m int, x Mem) *narrow {
	return &narrow{tileKind: kind, level: l, m: m, x: x, sum16: make([][2]reg.VecVirtual, m), sum32: make([][2]reg.VecVirtual, m)}
}

// add takes register k of a block's weights.
func (p *narrow) add(k int, u reg.VecVirtual) {
	g := k * p.groups / 8
	magnitude := u
	if p.signed {
		magnitude = YMM()
		VPABSB(u, magnitude)
	}
	p.n[g]++
	for t := range p.m {
		q := YMM()
		VPBROADCASTD(p.x.Offset(32*t+4*k), q)
		if p.signed {
			VPSIGNB(u, q, q)
		}
		VPMADDUBSW(q, magnitude, q)
		if p.sum16[t][g] == nil {
			p.sum16[t][g] = q
		} else {
			VPADDW(q, p.sum16[t][g], p.sum16[t][g])
		}
	}
	if p.n[g] == p.limit {
		p.widen(g)
	}
}

// widen adds what is in 16 bits to the sums in 32.
func (p *narrow) widen(g int) {
	if p.n[g] == 0 {
		return
	}
	p.n[g] = 0
	for t := range p.m {
		q := p.sum16[t][g]
		VPMADDWD(onesWords(), q, q)
		if p.sum32[t][g] == nil {
			p.sum32[t][g] = q
		} else {
			VPADDD(q, p.sum32[t][g], p.sum32[t][g])
		}
		p.sum16[t][g] = nil
	}
}

// finish adds the products of group g, whose scales are in b, to the accumulators.
func (p *narrow) finish(g int, b block, acc []reg.VecVirtual) {
	p.widen(g)
	for t, a := range acc {
		VCVTDQ2PS(p.sum32[t][g], p.sum32[t][g])
		p.addScaled(b, g, p.groups, p.sum32[t][g], p.x, p.m, t, a)
	}
}

// onesWords is 16 times the 16-bit number 1.
func onesWords() Mem {
	return global("ones", func() {
		for i := range 16 {
			DATA(2*i, U16(1))
		}
	})
}

// rowSlices are the parts of a tile's 16 rows that a register holds: their offsets in bytes of quants and f32.
func (l level) rowSlices() []int {
	if l.bytes == 64 {
		return []int{0}
	}
	return []int{0, 32}
}

// productKernel multiplies tiles of a packed matrix with one panel. It writes 16 floats for each row of activations and tile.
func (l level) productKernel(f format, m int) {
	TEXT(fmt.Sprintf("mul%d%s%s", m, f.name, l.suffix), NOSPLIT, "func(w, x *byte, y *float32, blocks, tiles, ystride int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tiles of packed %s times a panel of %d rows: blocks of 32 columns (of 256 where there are superblocks), ystride in bytes.", f.name, m))
	w, y := Mem{Base: Load(Param("w"), GP64())}, Mem{Base: Load(Param("y"), GP64())}
	tiles, ystride := Load(Param("tiles"), GP64()).(reg.GPVirtual), Load(Param("ystride"), GP64())
	Label("tile")
	start := GP64()
	MOVQ(w.Base, start)
	for i, slice := range l.rowSlices() {
		if i > 0 {
			MOVQ(start, w.Base)
		}
		s := &source{format: f, level: l, slice: slice}
		s.constants()
		x := Mem{Base: Load(Param("x"), GP64())}
		acc := l.zeros(m)
		l.eachBlock(f, w, fmt.Sprint(slice), s, func() {
			if l.bytes == 64 {
				l.accumulate(s.load(w), x, acc, 4)
			} else {
				p := newNarrow(l.tileKind(f), l, m, x)
				s.eachQuant(w, p.add)
				b := block{rounded: f.rounded()}
				s.loadScales(w, &b)
				for g := range b.d {
					p.finish(g, b, acc)
				}
			}
			ADDQ(U32(panelBytes(m)), x.Base)
		})
		l.storeRows(acc, y.Offset(slice), ystride)
	}
	ADDQ(U32(64), y.Base)
	DECQ(tiles)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// eachBlock runs body for every block of a tile, w moving on; the counter is the kernel's parameter.
func (l level) eachBlock(f format, w Mem, label string, s *source, body func()) {
	n := Load(Param("blocks"), GP64()).(reg.GPVirtual)
	one := func() {
		body()
		ADDQ(U32(f.blockBytes()), w.Base)
	}
	if !f.superblock() {
		loop("block"+label, n, 1, one)
		return
	}
	inner := GP64()
	loop("superblock"+label, n, 1, func() {
		s.loadHead(w)
		ADDQ(U32(f.headBytes()), w.Base)
		MOVQ(U32(8), inner)
		loop("block"+label, inner, 1, one)
	})
}

func (l level) zeros(n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = l.vec()
		zero(r[i])
	}
	return r
}

// storeRows writes registers stride bytes apart.
func (l level) storeRows(rows []reg.VecVirtual, y Mem, stride reg.Register) {
	at := GP64()
	LEAQ(y, at)
	for i, r := range rows {
		VMOVUPS(r, Mem{Base: at})
		if i+1 < len(rows) {
			ADDQ(stride, at)
		}
	}
}

// An unpacked tile's block is what a source leaves in registers: 8 × 64 bytes of u, then d [16] and m [16] f32 a group.
func tileBytes(groups int) int { return 512 + 128*groups }

// unpackKernel writes a tile's blocks unpacked.
func (l level) unpackKernel(f format) {
	TEXT("unpack"+f.name+l.suffix, NOSPLIT, "func(dst, w *byte, blocks int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("a tile of packed %s as unpacked blocks; blocks of 32 columns (of 256 where there are superblocks).", f.name))
	w := Mem{Base: Load(Param("w"), GP64())}
	start := GP64()
	MOVQ(w.Base, start)
	for i, slice := range l.rowSlices() {
		if i > 0 {
			MOVQ(start, w.Base)
		}
		dst := Mem{Base: Load(Param("dst"), GP64())}
		s := &source{format: f, level: l, slice: slice}
		s.constants()
		l.eachBlock(f, w, fmt.Sprint(slice), s, func() {
			s.eachQuant(w, func(k int, u reg.VecVirtual) { l.store(u, dst.Offset(64*k+slice)) })
			b := block{}
			s.loadScales(w, &b)
			for g := range b.d {
				VMOVUPS(b.d[g], dst.Offset(512+128*g+slice))
				if g < len(b.m) {
					VMOVUPS(b.m[g], dst.Offset(512+128*g+64+slice))
				}
			}
			ADDQ(U32(tileBytes(f.groups())), dst.Base)
		})
	}
	VZEROUPPER()
	RET()
}

// tileKind is a family of types whose blocks one kernel multiplies once they are unpacked. AVX-512 needs to know only the groups; AVX2 also how many
// products fit 16 bits, by the size of the weights: of signed ones, whose sign goes to the activations, one.
type tileKind struct {
	groups, limit   int
	signed, rounded bool // no minimum; the minimum times the rounded sum
}

func (l level) tileKind(f format) tileKind {
	if l.bytes == 64 {
		return tileKind{groups: f.groups(), rounded: f.rounded()}
	}
	s := source{format: f, level: l}
	if s.signed() {
		return tileKind{f.groups(), 1, true, false}
	}
	return tileKind{f.groups(), map[int]int{2: 8, 3: 8, 4: 8, 5: 4, 6: 2}[f.bits], false, f.rounded()}
}

func (k tileKind) String() string {
	s := fmt.Sprintf("Tile%d", k.groups)
	switch {
	case k.signed:
		s += "Signed"
	case k.limit > 0:
		s += fmt.Sprintf("By%d", k.limit)
	}
	if k.rounded {
		s += "Rounded"
	}
	return s
}

// tileKernel multiplies one unpacked tile with one panel of m rows.
func (l level) tileKernel(kind tileKind, m int) {
	TEXT(fmt.Sprintf("mul%d%v%s", m, kind, l.suffix), NOSPLIT, "func(w, x *byte, y *float32, blocks, ystride int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("an unpacked tile times a panel of %d rows; blocks of 32 columns, ystride in bytes.", m))
	y, ystride := Mem{Base: Load(Param("y"), GP64())}, Load(Param("ystride"), GP64())
	for _, slice := range l.rowSlices() {
		w, x := Mem{Base: Load(Param("w"), GP64())}, Mem{Base: Load(Param("x"), GP64())}
		n := Load(Param("blocks"), GP64()).(reg.GPVirtual)
		acc := l.zeros(m)
		scales := func(g int, b *block) {
			d, m := l.vec(), l.vec()
			VMOVUPS(w.Offset(512+128*g+slice), d)
			b.d = append(b.d, d)
			if !kind.signed {
				VMOVUPS(w.Offset(512+128*g+64+slice), m)
				b.m = append(b.m, m)
			}
		}
		loop(fmt.Sprint("block", slice), n, 1, func() {
			b := block{rounded: kind.rounded}
			if l.bytes == 64 {
				for g := range kind.groups {
					scales(g, &b)
				}
				for k := range b.u {
					b.u[k] = l.vec()
					VMOVDQU64(w.Offset(64*k), b.u[k])
				}
				l.accumulate(b, x, acc, 3)
			} else {
				p := newNarrow(kind, l, m, x)
				for k := range 8 {
					u := YMM()
					VMOVDQU(w.Offset(64*k+slice), u)
					p.add(k, u)
					if g := k * kind.groups / 8; (k+1)*kind.groups/8 > g { // the group's last
						scales(g, &b)
						p.finish(g, b, acc)
					}
				}
			}
			ADDQ(U32(tileBytes(kind.groups)), w.Base)
			ADDQ(U32(panelBytes(m)), x.Base)
		})
		l.storeRows(acc, y.Offset(slice), ystride)
	}
	VZEROUPPER()
	RET()
}

func (l level) store(r reg.VecVirtual, to Mem) {
	if l.bytes == 64 {
		VMOVDQU64(r, to)
	} else {
		VMOVDQU(r, to)
	}
}

// unpackFloatKernel writes a tile's columns as f32: 16 rows a column, as floatKernel reads them.
func (l level) unpackFloatKernel(f format) {
	TEXT("floats"+f.name+l.suffix, NOSPLIT, "func(dst, w *byte, blocks int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("a tile of packed %s as f32, 16 rows a column; blocks of 32 columns (of 256 where there are superblocks).", f.name))
	w := Mem{Base: Load(Param("w"), GP64())}
	start := GP64()
	MOVQ(w.Base, start)
	for i, slice := range l.rowSlices() {
		if i > 0 {
			MOVQ(start, w.Base)
		}
		dst := Mem{Base: Load(Param("dst"), GP64())}
		s := &source{format: f, level: l, slice: slice}
		s.constants()
		low := l.broadcast(0xff)
		l.eachBlock(f, w, fmt.Sprint(slice), s, func() {
			b := block{}
			s.loadScales(w, &b)
			s.eachQuant(w, func(k int, u reg.VecVirtual) {
				g := k * f.groups() / 8
				for i := range 4 {
					c := l.vec()
					switch {
					case s.signed():
						VPSLLD(Imm(uint64(24-8*i)), u, c)
						VPSRAD(Imm(24), c, c)
					default:
						VPSRLD(Imm(uint64(8*i)), u, c)
						l.and(low, c)
					}
					VCVTDQ2PS(c, c)
					if s.signed() {
						VMULPS(b.d[g], c, c)
					} else {
						VFMADD213PS(b.m[g], b.d[g], c)
					}
					VMOVUPS(c, dst.Offset(64*(4*k+i)+slice))
				}
			})
			ADDQ(U32(64*32), dst.Base)
		})
	}
	VZEROUPPER()
	RET()
}

// floatKernel multiplies columns of 16 f32, fp16 or bf16 with m rows of f32: acc = fma(w, x, acc) column after column. With add, the products are added
// to y, which is first multiplied by a factor a row.
func (l level) floatKernel(typ string, m int, add bool) {
	name, args := fmt.Sprintf("mul%d%s%s", m, typ, l.suffix), ""
	if add {
		name, args = fmt.Sprintf("add%d%s%s", m, typ, l.suffix), ", factor *float32"
	}
	TEXT(name, NOSPLIT, "func(w, x *byte, y *float32, columns, wstride, xstride, ystride int"+args+")")
	Pragma("noescape")
	doc := fmt.Sprintf("16 rows of %s, wstride bytes a column, times %d rows of f32; columns a multiple of 4, strides in bytes.", typ, m)
	if add {
		doc += " y = y·factor + the products."
	}
	Doc(doc)
	y, wstride, ystride := Mem{Base: Load(Param("y"), GP64())}, Load(Param("wstride"), GP64()), Load(Param("ystride"), GP64())
	size := map[string]int{"F32": 4, "F16": 2, "BF16": 2}[typ]
	for _, slice := range l.rowSlices() {
		w, n := Mem{Base: Load(Param("w"), GP64())}, Load(Param("columns"), GP64()).(reg.GPVirtual)
		xs := rowAddresses(m)
		acc := make([]reg.VecVirtual, m)
		if add {
			factor, at := Mem{Base: Load(Param("factor"), GP64())}, GP64()
			LEAQ(y.Offset(slice), at)
			for i := range acc {
				acc[i] = l.vec()
				VBROADCASTSS(factor.Offset(4*i), acc[i])
				VMULPS(Mem{Base: at}, acc[i], acc[i])
				ADDQ(ystride, at)
			}
		} else {
			acc = l.zeros(m)
		}
		loop(fmt.Sprint("columns", slice), n, 4, func() {
			for c := range 4 {
				r := l.vec()
				from := w.Offset(slice * size / 4)
				switch typ {
				case "F32":
					VMOVUPS(from, r)
				case "F16":
					VCVTPH2PS(from, r)
				default:
					VPMOVZXWD(from, r)
					VPSLLD(Imm(16), r, r)
				}
				ADDQ(wstride, w.Base)
				for i, a := range acc {
					if l.bytes == 64 {
						VFMADD231PS_BCST(xs.row(i).Offset(4*c), r, a)
						continue
					}
					q := YMM()
					VBROADCASTSS(xs.row(i).Offset(4*c), q)
					VFMADD231PS(q, r, a)
				}
			}
			xs.advance(16)
		})
		l.storeRows(acc, y.Offset(slice), ystride)
	}
	VZEROUPPER()
	RET()
}

// addresses are those of rows at equal distances: a base for every four, and the distance once and three times.
type addresses struct {
	bases []reg.GPVirtual
	s, s3 reg.Register
}

func rowAddresses(m int) addresses {
	a := addresses{}
	base := Load(Param("x"), GP64()).(reg.GPVirtual)
	a.bases = append(a.bases, base)
	if m == 1 {
		return a
	}
	a.s = Load(Param("xstride"), GP64())
	s3 := GP64()
	LEAQ(Mem{Base: a.s, Index: a.s, Scale: 2}, s3)
	a.s3 = s3
	for i := 4; i < m; i += 4 {
		next := GP64()
		LEAQ(Mem{Base: base, Index: a.s, Scale: 4}, next)
		a.bases = append(a.bases, next)
		base = next
	}
	return a
}

func (a addresses) row(i int) Mem {
	m := Mem{Base: a.bases[i/4]}
	switch i % 4 {
	case 1:
		m.Index, m.Scale = a.s, 1
	case 2:
		m.Index, m.Scale = a.s, 2
	case 3:
		m.Index, m.Scale = a.s3, 1
	}
	return m
}

func (a addresses) advance(bytes int) {
	for _, b := range a.bases {
		ADDQ(U32(bytes), b)
	}
}
