package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Rows expanded to f32: for prompts, whose many queries share them, and for everything at AVX2, which has no masks.

const expandArguments = "func(dst *float32, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, octets int)"

// expand writes rows as f32 at AVX-512, zeros where channels were dropped.
func expand(k rowKind, D int) {
	TEXT(fmt.Sprintf("expand%sD%dAVX512", k.name(), D), NOSPLIT, expandArguments)
	Pragma("noescape")
	Doc(fmt.Sprintf("rows of %d channels.", D))
	dst, bitmaps := Mem{Base: Load(Param("dst"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	values, scales := Load(Param("values"), GP64()), Mem{Base: Load(Param("scales"), GP64())}
	n, rowBytes := Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("rowBytes"), GP64())
	reader := newRowReader(k, false)
	if k.values == "i4" && D > 64 {
		reader.wide = ZMM()
		VMOVDQU64(fourApart(), reader.wide)
	}
	loop("row", n, 1, func() {
		scale := avx512.rowScale(k, scales)
		for w := range D / 64 {
			at := dst.Offset(256 * w)
			for i, r := range reader.read(bitmaps, address{base: values}, w) {
				switch k.bits() {
				case 32:
					VMOVUPS(r, at.Offset(64*i))
				case 16:
					for half := range 2 {
						y, z := YMM(), ZMM()
						VEXTRACTI64X4(U8(uint8(half)), r, y)
						VPMOVSXWD(y, z)
						storeScaled(z, scale, at.Offset(64*(2*i+half)))
					}
				default:
					for quarter := range 4 {
						x, z := XMM(), ZMM()
						VEXTRACTI32X4(U8(uint8(quarter)), r, x)
						VPMOVSXBD(x, z)
						storeScaled(z, scale, at.Offset(64*quarter))
					}
				}
			}
		}
		ADDQ(U32(uint32(4*D)), dst.Base)
		ADDQ(rowBytes, values)
		if k.sparse {
			ADDQ(U32(uint32(D/8)), bitmaps.Base)
		}
		ADDQ(U32(2), scales.Base)
	})
	VZEROUPPER()
	RET()
}

func storeScaled(r, scale reg.VecVirtual, to Mem) {
	VCVTDQ2PS(r, r)
	VMULPS(scale, r, r)
	VMOVUPS(r, to)
}

// rowScale reads what a row's integers are multiplied by; nil for fp16 values.
func (l level) rowScale(k rowKind, scales Mem) reg.VecVirtual {
	if k.values == "f16" {
		return nil
	}
	h, s := GP32(), l.vec()
	MOVWLZX(scales, h)
	VMOVD(h, s.AsX())
	VCVTPH2PS(s.AsX(), s.AsX())
	if k.values == "i16" {
		MOVL(U32(0x3a800000), h) // 1/1024
		u := XMM()
		VMOVD(h, u)
		VMULSS(u, s.AsX(), s.AsX())
	}
	VBROADCASTSS(s.AsX(), s)
	return s
}

// expandBytewise writes rows as f32 at AVX2: for each byte of a bitmap, a shuffle from a table puts the values it keeps at their channels.
func expandBytewise(k rowKind) {
	l := avx2
	TEXT("expand"+k.name()+l.suffix, NOSPLIT, expandArguments)
	Pragma("noescape")
	Doc("rows of 8·octets channels.")
	dst, bitmap := Mem{Base: Load(Param("dst"), GP64())}, Mem{Base: Load(Param("bitmaps"), GP64())}
	values, scales := Load(Param("values"), GP64()), Mem{Base: Load(Param("scales"), GP64())}
	n, rowBytes := Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("rowBytes"), GP64())
	size := map[string]int{"f16": 2, "i16": 2, "i8": 1, "i4": 1}[k.values]
	var low, eight reg.VecVirtual
	tableAt := GP64()
	if k.sparse {
		LEAQ(shuffles(size), tableAt)
	}
	if k.values == "i4" {
		low, eight = l.broadcast(0x0f0f0f0f), l.broadcast(0x08080808)
	}
	loop("row", n, 1, func() {
		scale := l.rowScale(k, scales)
		at, left := GP64(), Load(Param("octets"), GP64()).(reg.GPVirtual)
		MOVQ(values, at)
		nibble := GP64()
		if k.values == "i4" {
			XORL(nibble.As32(), nibble.As32())
		}
		loop("byte", left, 1, func() {
			x, y := XMM(), YMM()
			b := GP64()
			if k.sparse {
				MOVBQZX(bitmap, b)
			}
			switch k.values {
			case "i4":
				// eight nibbles from an even or odd one on: shift the quadword, then spread to bytes
				q, shift := GP64(), GP64()
				MOVQ(nibble, shift)
				SHRQ(Imm(1), shift)
				MOVQ(Mem{Base: values, Index: shift, Scale: 1}, q)
				MOVQ(nibble, shift)
				ANDL(Imm(1), shift.As32())
				SHLL(Imm(2), shift.As32())
				SHRXQ(shift, q, q)
				VMOVQ(q, x)
				high := XMM()
				VPSRLW(Imm(4), x, high)
				VPUNPCKLBW(high, x, x)
				VPAND(low.AsX(), x, x)
				VPSUBB(eight.AsX(), x, x)
			case "i8":
				VMOVQ(Mem{Base: at}, x)
			default:
				VMOVDQU(Mem{Base: at}, x)
			}
			if k.sparse {
				entry := GP64()
				MOVQ(b, entry)
				if size == 2 {
					SHLQ(Imm(4), entry)
					VPSHUFB(Mem{Base: tableAt, Index: entry, Scale: 1}, x, x)
				} else {
					control := XMM()
					VMOVQ(Mem{Base: tableAt, Index: entry, Scale: 8}, control)
					VPSHUFB(control, x, x)
				}
				POPCNTL(b.As32(), b.As32())
				switch k.values {
				case "i4":
					ADDQ(b, nibble)
				case "i8":
					ADDQ(b, at)
				default:
					LEAQ(Mem{Base: at, Index: b, Scale: 2}, at)
				}
				INCQ(bitmap.Base)
			} else {
				ADDQ(U32(uint32(8*size)), at)
			}
			switch k.values {
			case "f16":
				VCVTPH2PS(x, y)
			case "i16":
				VPMOVSXWD(x, y)
			default:
				VPMOVSXBD(x, y)
			}
			if k.values != "f16" {
				VCVTDQ2PS(y, y)
				VMULPS(scale, y, y)
			}
			VMOVUPS(y, dst)
			ADDQ(U32(32), dst.Base)
		})
		ADDQ(rowBytes, values)
		ADDQ(U32(2), scales.Base)
	})
	VZEROUPPER()
	RET()
}

// shuffles is, for each byte of a bitmap, the shuffle that puts the next values of size bytes at its ones, and zeros at its zeros.
func shuffles(size int) Mem {
	return global(fmt.Sprintf("shuffles%d", size), func() {
		for b := range 256 {
			entry := make([]byte, 8*size)
			for i := range entry {
				entry[i] = 0x80
				if c := i / size; b>>c&1 == 1 {
					entry[i] = uint8(bits.OnesCount8(uint8(b)&(1<<c-1))*size + i%size)
				}
			}
			for i := 0; i < len(entry); i += 8 {
				DATA(8*size*b+i, U64(binary.LittleEndian.Uint64(entry[i:])))
			}
		}
	})
}

// expandKinds are all kinds but dense fp16, which is a conversion.
func expandKinds() []rowKind { return rowKinds[1:] }

func expansions() {
	for _, k := range expandKinds() {
		for _, D := range headDims {
			expand(k, D)
		}
		expandBytewise(k)
	}
}
