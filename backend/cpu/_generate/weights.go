package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A packed matrix is tiles of 16 rows; in a tile, the blocks of 32 columns one after the other (package cpu, packed.go, has the picture). A source
// reads one block into registers as every type's common form: 8 registers of unsigned bytes, register k holding columns 4k … 4k+3 of row r in dword
// lane r, and a scale and a minimum a row for each group of columns, so that a weight is d·u + m.
//
// A source works on a slice of rows: all 16 in a zmm register, or 8 of them in a ymm register, the others 32 bytes behind.

// block is what a source leaves in registers.
type block struct {
	u       [8]reg.VecVirtual
	d, m    []reg.VecVirtual // one a group
	rounded bool             // m is meant for the rounded sum of activations
}

// format is how a type's blocks are packed.
type format struct {
	name   string
	bits   int     // of a quant: planes of 2 and 1 bits and of nibbles add up to it
	levels bool    // 4 bits choose one of iq4Levels
	scales string  // see scaleSizes
	min    float32 // m = min·d where no minimum is stored
}

// scaleSizes are the bytes of scales in a superblock's head and in a block. "d", "dm": fp16 numbers a block. The others have fp16 numbers in the head of
// a superblock of 8 blocks, and in a block, a row and group, a byte: "k" scale and minimum, "s" a signed scale, "s2" two of them (groups of 16 columns),
// "n2" two that hold scale and minimum in a nibble each.
var scaleSizes = map[string]struct{ head, block int }{
	"d": {0, 32}, "dm": {0, 64}, "k": {64, 32}, "s": {32, 16}, "s2": {32, 32}, "n2": {64, 32},
}

var formats = []format{
	{"Q4x0", 4, false, "d", -8}, {"Q4x1", 4, false, "dm", 0}, {"Q5x0", 5, false, "d", -16}, {"Q5x1", 5, false, "dm", 0},
	{"Q8x0", 8, false, "d", -128}, {"IQ4NL", 4, true, "d", -128},
	{"Q2K", 2, false, "n2", 0}, {"Q3K", 3, false, "s2", -4}, {"Q4K", 4, false, "k", 0}, {"Q5K", 5, false, "k", 0}, {"Q6K", 6, false, "s2", -32},
	{"IQ4XS", 4, true, "s", -128},
}

func (f format) groups() int {
	if f.scales == "s2" || f.scales == "n2" {
		return 2
	}
	return 1
}

// rounded reports whether ggml multiplies the minimum with a sum of activations in fp16.
func (f format) rounded() bool { return f.scales == "dm" }

// superblock reports whether blocks come in eights behind a head.
func (f format) superblock() bool { return scaleSizes[f.scales].head > 0 }

func (f format) headBytes() int { return scaleSizes[f.scales].head }

func (f format) quantBytes() int { return 64 * f.bits }

func (f format) blockBytes() int { return scaleSizes[f.scales].block + f.quantBytes() }

// source is a format at a level, with the constants that its code keeps in registers.
type source struct {
	format
	level
	slice       int // bytes before this slice of rows in 64 bytes of quants
	masks       map[uint32]reg.VecVirtual
	table       reg.VecVirtual
	min         reg.VecVirtual
	head, heads reg.VecVirtual // of the superblock: d, and -dmin
}

// broadcast fills a register of the level with a 32-bit constant.
func (l level) broadcast(v uint32) reg.VecVirtual {
	r, z := GP32(), l.vec()
	MOVL(U32(v), r)
	if l.bytes == 64 {
		VPBROADCASTD(r, z)
	} else {
		VMOVD(r, z.AsX())
		VPBROADCASTD(z.AsX(), z)
	}
	return z
}

// constants loads what the source needs throughout.
func (s *source) constants() {
	s.masks = map[uint32]reg.VecVirtual{}
	need := func(m uint32) { s.masks[m] = s.broadcast(m * 0x01010101) }
	switch s.bits {
	case 4, 5, 6:
		need(0x0f)
	}
	switch s.bits {
	case 5:
		need(0x10)
	case 6:
		need(0x30)
	case 2, 3:
		need(0x03)
	}
	if s.bits == 3 {
		need(0x04)
	}
	if s.bits == 8 && s.signed() {
		need(0x80)
	}
	if s.levels {
		s.table = s.vec()
		if s.bytes == 64 {
			VBROADCASTI32X4(levelTable(128), s.table)
		} else {
			VBROADCASTI128(levelTable(0), s.table)
		}
	}
	if s.format.min != 0 && !s.signed() {
		s.min = s.broadcast(math.Float32bits(s.format.min))
	}
}

// levelTable is the 16 levels of IQ4_NL, plus a number. (ggml-common.h)
func levelTable(plus int) Mem {
	return global(fmt.Sprintf("levels%d", plus), func() {
		for i, v := range []int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113} {
			DATA(i, U8(uint8(v+plus)))
		}
	})
}

// loadHead reads the head of a superblock at w.
func (s *source) loadHead(w Mem) {
	if !s.superblock() {
		return
	}
	if s.head == nil {
		s.head = s.vec()
	}
	VCVTPH2PS(w.Offset(s.slice/2), s.head)
	if s.headBytes() == 64 {
		if s.heads == nil {
			s.heads = s.vec()
		}
		VCVTPH2PS(w.Offset(32+s.slice/2), s.heads)
		sign := s.broadcast(0x80000000)
		VXORPS(sign, s.heads, s.heads)
	}
}

// load reads the block at w into registers.
func (s *source) load(w Mem) block {
	b := block{rounded: s.rounded()}
	s.loadScales(w, &b)
	s.eachQuant(w, func(k int, u reg.VecVirtual) { b.u[k] = u })
	return b
}

func (s *source) loadScales(w Mem, b *block) {
	half := func(off int) reg.VecVirtual {
		r := s.vec()
		VCVTPH2PS(w.Offset(off+s.slice/2), r)
		return r
	}
	times := func(a, b reg.VecVirtual) reg.VecVirtual {
		r := s.vec()
		VMULPS(a, b, r)
		return r
	}
	number := func(off int, signed bool) reg.VecVirtual {
		r := s.vec()
		if signed {
			VPMOVSXBD(w.Offset(off+s.slice/4), r)
		} else {
			VPMOVZXBD(w.Offset(off+s.slice/4), r)
		}
		return r
	}
	float := func(r reg.VecVirtual) reg.VecVirtual {
		VCVTDQ2PS(r, r)
		return r
	}
	add := func(d, m reg.VecVirtual) { b.d, b.m = append(b.d, d), append(b.m, m) }
	switch s.scales {
	case "d":
		b.d = append(b.d, half(0))
	case "dm":
		add(half(0), half(32))
	case "k":
		add(times(s.head, float(number(0, false))), times(s.heads, float(number(16, false))))
	case "s", "s2":
		for g := range s.groups() {
			b.d = append(b.d, times(s.head, float(number(16*g, true))))
		}
	case "n2":
		for g := range 2 {
			sc := number(16*g, false)
			mn := s.vec()
			VPSRLD(Imm(4), sc, mn)
			low := s.broadcast(15)
			s.and(low, sc)
			add(times(s.head, float(sc)), times(s.heads, float(mn)))
		}
	}
	for i, d := range b.d {
		if len(b.m) <= i && !s.signed() {
			b.m = append(b.m, times(s.min, d))
		}
	}
}

// and: dst &= a.
func (l level) and(a, dst reg.VecVirtual) {
	if l.bytes == 64 {
		VPANDD(a, dst, dst)
	} else {
		VPAND(a, dst, dst)
	}
}

// orMasked: dst |= a & mask; a is overwritten where there is no instruction for all three.
func (l level) orMasked(a, mask, dst reg.VecVirtual) {
	if l.bytes == 64 {
		VPTERNLOGD(U8(0xf8), mask, a, dst)
		return
	}
	VPAND(mask, a, a)
	VPOR(a, dst, dst)
}

// shifted loads 64-byte piece i of a plane, or its half, shifted to the right by n bits, to the left where n is below 0.
func (s *source) shifted(plane reg.VecVirtual, n int) reg.VecVirtual {
	r := s.vec()
	switch {
	case n > 0:
		VPSRLW(Imm(uint64(n)), plane, r)
	case n < 0:
		VPSLLW(Imm(uint64(-n)), plane, r)
	default:
		s.move(plane, r)
	}
	return r
}

func (l level) move(from, to reg.VecVirtual) {
	if l.bytes == 64 {
		VMOVDQA64(from, to)
	} else {
		VMOVDQA(from, to)
	}
}

func (s *source) loadPlane(w Mem, i int) reg.VecVirtual {
	r := s.vec()
	if s.bytes == 64 {
		VMOVDQU64(w.Offset(64*i), r)
	} else {
		VMOVDQU(w.Offset(64*i+s.slice), r)
	}
	return r
}

// eachQuant reads the quants of the block at w and hands them on one register after the other: a plane of nibbles (low halves columns 0 … 15, high
// ones 16 … 31), or of 2 bits, then the planes of what is above.
func (s *source) eachQuant(w Mem, use func(k int, u reg.VecVirtual)) {
	w = w.Offset(scaleSizes[s.scales].block)
	var plane reg.VecVirtual
	switch s.bits {
	case 3:
		plane = s.loadPlane(w.Offset(128), 0)
	case 5:
		plane = s.loadPlane(w.Offset(256), 0)
	}
	above := func(k int, u reg.VecVirtual) {
		switch s.bits {
		case 3:
			s.orMasked(s.shifted(plane, k-2), s.masks[4], u)
		case 5:
			s.orMasked(s.shifted(plane, k-4), s.masks[0x10], u)
		case 6:
			s.orMasked(s.shifted(s.loadPlane(w.Offset(256), k/4), 2*(k%4)-4), s.masks[0x30], u)
		}
		if s.levels {
			VPSHUFB(u, s.table, u)
		}
		use(k, u)
	}
	for k := range 8 {
		switch s.bits {
		case 8:
			u := s.loadPlane(w, k)
			if s.signed() {
				VPXOR(s.masks[0x80], u, u)
			}
			use(k, u)
		case 2, 3:
			u := s.shifted(s.loadPlane(w, k/4), 2*(k%4))
			s.and(s.masks[3], u)
			above(k, u)
		default:
			if k < 4 {
				low := s.loadPlane(w, k)
				high := s.shifted(low, 4)
				s.and(s.masks[15], low)
				above(k, low)
				s.and(s.masks[15], high)
				above(4+k, high)
			}
		}
	}
}

// signed reports whether quants are left signed, with no minimum: AVX2 adds products of bytes in 16 bits, which unsigned ones of 8 bits overflow.
func (s *source) signed() bool { return s.bytes == 32 && (s.bits == 8 || s.levels) }
