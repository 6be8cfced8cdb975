package cpu

import (
	"encoding/binary"

	"mustafar/gguf"
)

// Every quantised weight is d·u + m with an unsigned byte u and a d and m for each group of 16 or 32 columns. Unpacked so, all types share one
// product with int8 activations: Σ d·dx·(Σ u·q) + m·(dx·Σ q), the inner sums in integers.
//
//	Q4_0   u = 0 … 15    m = -8d        Q2_K   u = 0 … 3     d·sc, -dmin·mn   groups of 16
//	Q4_1   u = 0 … 15    m              Q3_K   u = 0 … 7     d·sc, -4d·sc     groups of 16
//	Q5_0   u = 0 … 31    m = -16d       Q4_K   u = 0 … 15    d·sc, -dmin·mn
//	Q5_1   u = 0 … 31    m              Q5_K   u = 0 … 31    d·sc, -dmin·mn
//	Q8_0   u = q + 128   m = -128d      Q6_K   u = 0 … 63    d·sc, -32d·sc    groups of 16
//	IQ4_NL u = level+128 m = -128d      IQ4_XS u = level+128 d·sc, -128d·sc
type unpacker struct {
	group  int                                           // columns that share d and m
	unpack func(block []byte, u []uint8, d, m []float32) // one block of the type
}

var unpackers = map[gguf.Type]unpacker{
	gguf.Q4_0:   {32, unpackQ4_0},
	gguf.Q4_1:   {32, unpackQ4_1},
	gguf.Q5_0:   {32, unpackQ5_0},
	gguf.Q5_1:   {32, unpackQ5_1},
	gguf.Q8_0:   {32, unpackQ8_0},
	gguf.Q2_K:   {16, unpackQ2K},
	gguf.Q3_K:   {16, unpackQ3K},
	gguf.Q4_K:   {32, unpackQ4K},
	gguf.Q5_K:   {32, unpackQ5K},
	gguf.Q6_K:   {16, unpackQ6K},
	gguf.IQ4_NL: {32, unpackIQ4NL},
	gguf.IQ4_XS: {32, unpackIQ4XS},
}

// iq4Levels are the 16 values of IQ4_NL and IQ4_XS, plus 128. (ggml-common.h)
var iq4Levels = [16]uint8{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241}

func half(b []byte) float32 { return halfToFloat(binary.LittleEndian.Uint16(b)) }

// nibbles writes the low halves of 16 bytes, then the high ones.
func nibbles(u []uint8, b []byte) {
	for i, q := range b[:16] {
		u[i], u[16+i] = q&15, q>>4
	}
}

// fifthBits adds bit i of four bytes to u[i] as its bit 4.
func fifthBits(u []uint8, b []byte) {
	h := binary.LittleEndian.Uint32(b)
	for i := range u[:32] {
		u[i] |= uint8(h>>i&1) << 4
	}
}

func unpackQ4_0(b []byte, u []uint8, d, m []float32) {
	d[0] = half(b)
	m[0] = -8 * d[0]
	nibbles(u, b[2:])
}

func unpackQ4_1(b []byte, u []uint8, d, m []float32) {
	d[0], m[0] = half(b), half(b[2:])
	nibbles(u, b[4:])
}

func unpackQ5_0(b []byte, u []uint8, d, m []float32) {
	d[0] = half(b)
	m[0] = -16 * d[0]
	nibbles(u, b[6:])
	fifthBits(u, b[2:])
}

func unpackQ5_1(b []byte, u []uint8, d, m []float32) {
	d[0], m[0] = half(b), half(b[2:])
	nibbles(u, b[8:])
	fifthBits(u, b[4:])
}

func unpackQ8_0(b []byte, u []uint8, d, m []float32) {
	d[0] = half(b)
	m[0] = -128 * d[0]
	for i, q := range b[2:34] {
		u[i] = q ^ 0x80
	}
}

func unpackIQ4NL(b []byte, u []uint8, d, m []float32) {
	d[0] = half(b)
	m[0] = -128 * d[0]
	nibbles(u, b[2:])
}

// unpackIQ4XS: d, 4 high bits pairs of 8 scales in two bytes, 8 low halves in four, 8 × 16 bytes of nibbles.
func unpackIQ4XS(b []byte, u []uint8, d, m []float32) {
	scale := half(b)
	for g := range 8 {
		d[g] = scale * float32(scaleIQ4(b, g))
		m[g] = -128 * d[g]
		nibbles(u[32*g:], b[8+16*g:])
	}
}

// scaleIQ4 is scale g of an IQ4_XS block.
func scaleIQ4(b []byte, g int) int8 {
	low, high := b[4+g/2]>>(4*(g&1))&15, b[2+g/4]>>(2*(g%4))&3
	return int8(low|high<<4) - 32
}

// unpackQ2K: 16 bytes of scale (low half) and min (high half), 64 bytes of 2-bit quants, d, dmin.
func unpackQ2K(b []byte, u []uint8, d, m []float32) {
	scale, lowest := half(b[80:]), half(b[82:])
	for g, s := range b[:16] {
		d[g] = scale * float32(s&15)
		m[g] = -lowest * float32(s>>4)
	}
	for i := range u[:256] {
		u[i] = b[16+i/128*32+i%32] >> (2 * (i / 32 % 4)) & 3
	}
}

// unpackQ3K: 32 bytes of third bits, 64 bytes of 2-bit quants, 16 scales of 6 bits, d.
func unpackQ3K(b []byte, u []uint8, d, m []float32) {
	scale := half(b[108:])
	for g := range 16 {
		d[g] = scale * float32(scale3(b, g))
		m[g] = -4 * d[g]
	}
	for i := range u[:256] {
		third := b[i%32] >> (i / 32) & 1
		u[i] = b[32+i/128*32+i%32]>>(2*(i/32%4))&3 | third<<2
	}
}

// scale3 is scale g of a Q3_K block.
func scale3(b []byte, g int) int8 {
	low, high := b[96+g%8]>>(4*(g/8))&15, b[104+g%4]>>(2*(g/4))&3
	return int8(low|high<<4) - 32
}

// scaleMin6 unpacks scale and min g of the 12 bytes that hold eight 6-bit pairs.
func scaleMin6(b []byte, g int) (sc, mn uint8) {
	if g < 4 {
		return b[g] & 63, b[g+4] & 63
	}
	return b[g+4]&15 | b[g-4]>>6<<4, b[g+4]>>4 | b[g]>>6<<4
}

// unpackQ4K: d, dmin, 12 bytes of scales and mins, 128 bytes of nibbles: 32 low halves, then the 32 high ones of the same bytes.
func unpackQ4K(b []byte, u []uint8, d, m []float32) {
	scale, lowest := half(b), half(b[2:])
	for g := range 8 {
		sc, mn := scaleMin6(b[4:], g)
		d[g], m[g] = scale*float32(sc), -lowest*float32(mn)
	}
	for i := range u[:256] {
		u[i] = b[16+i/64*32+i%32] >> (4 * (i / 32 & 1)) & 15
	}
}

// unpackQ5K: as Q4_K with 32 bytes of fifth bits, bit g of byte i for column 32g+i, before the nibbles.
func unpackQ5K(b []byte, u []uint8, d, m []float32) {
	scale, lowest := half(b), half(b[2:])
	for g := range 8 {
		sc, mn := scaleMin6(b[4:], g)
		d[g], m[g] = scale*float32(sc), -lowest*float32(mn)
	}
	for i := range u[:256] {
		fifth := b[16+i%32] >> (i / 32) & 1
		u[i] = b[48+i/64*32+i%32]>>(4*(i/32&1))&15 | fifth<<4
	}
}

// unpackQ6K: 128 bytes of low halves, 64 bytes of 2-bit high parts, 16 int8 scales, d.
func unpackQ6K(b []byte, u []uint8, d, m []float32) {
	scale := half(b[208:])
	for g := range 16 {
		d[g] = scale * float32(int8(b[192+g]))
		m[g] = -32 * d[g]
	}
	for i := range u[:256] {
		half, j := i/128, i%128
		low := b[64*half+j%64] >> (4 * (j / 64)) & 15
		high := b[128+32*half+j%32] >> (2 * (j / 32)) & 3
		u[i] = low | high<<4
	}
}
