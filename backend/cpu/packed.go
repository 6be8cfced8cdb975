package cpu

import (
	"encoding/binary"

	"mustafar/gguf"
)

// At load, quantised matrices are packed: the same numbers in another order, so that kernels read memory in one stream and 16 rows are the 16 lanes of
// a register, with no sum across lanes. A matrix is tiles of 16 rows; a tile, its blocks of 32 columns one after the other:
//
//	d [16]  m [16]  quants                       types of blocks of 32: fp16 scale, and minimum where the type has one
//	d [16]  min [16]  8 × { scales [16] … quants }   types of superblocks of 256: fp16, then bytes for every 32 (or twice 16) columns
//
// Quants lie in planes of 64 bytes, in each the dword r for row r, so that a dword holds four columns of one row:
//
//	4 bits   4 planes: byte i of plane k holds column 4k+i in its low half, 16+4k+i in its high half
//	5 bits   the same, then a plane of fifth bits: bit k of byte i for column 4k+i
//	6 bits   4 planes of nibbles, then 2 of the upper two bits: bits 2(k%4) of byte i in plane k/4 for column 4k+i
//	2, 3     2 planes of 2 bits in that order; a plane of third bits
//	8        8 planes of bytes, unsigned: q + 128
//
// Matrices of f32, fp16 and bf16 are packed column by column: 16 rows of one column side by side.
const tileRows = 16

// packing is how a type is packed.
type packing struct {
	bits    int
	head    int // bytes of a superblock's head
	scales  int // bytes of scales in a block of 32 columns
	putHead func(dst []byte, r int, block []byte)
	put     func(dst []byte, r, g int, block []byte) // scales of block g of a superblock
}

var packings = map[gguf.Type]packing{
	gguf.Q4_0:   {bits: 4, scales: 32, put: putD(0)},
	gguf.Q4_1:   {bits: 4, scales: 64, put: putDM},
	gguf.Q5_0:   {bits: 5, scales: 32, put: putD(0)},
	gguf.Q5_1:   {bits: 5, scales: 64, put: putDM},
	gguf.Q8_0:   {bits: 8, scales: 32, put: putD(0)},
	gguf.IQ4_NL: {bits: 4, scales: 32, put: putD(0)},
	gguf.Q2_K: {bits: 2, head: 64, scales: 32, putHead: putHeadDM(80), put: func(dst []byte, r, g int, b []byte) {
		dst[r], dst[16+r] = b[2*g], b[2*g+1]
	}},
	gguf.Q3_K: {bits: 3, head: 32, scales: 32, putHead: putHeadD(108), put: func(dst []byte, r, g int, b []byte) {
		dst[r], dst[16+r] = byte(scale3(b, 2*g)), byte(scale3(b, 2*g+1))
	}},
	gguf.Q4_K: {bits: 4, head: 64, scales: 32, putHead: putHeadDM(0), put: putScaleMin},
	gguf.Q5_K: {bits: 5, head: 64, scales: 32, putHead: putHeadDM(0), put: putScaleMin},
	gguf.Q6_K: {bits: 6, head: 32, scales: 32, putHead: putHeadD(208), put: func(dst []byte, r, g int, b []byte) {
		dst[r], dst[16+r] = b[192+2*g], b[192+2*g+1]
	}},
	gguf.IQ4_XS: {bits: 4, head: 32, scales: 16, putHead: putHeadD(0), put: func(dst []byte, r, g int, b []byte) {
		dst[r] = byte(scaleIQ4(b, g))
	}},
}

func putD(at int) func(dst []byte, r, g int, block []byte) {
	return func(dst []byte, r, _ int, b []byte) { copy(dst[2*r:][:2], b[at:]) }
}

func putDM(dst []byte, r, _ int, b []byte) {
	copy(dst[2*r:][:2], b)
	copy(dst[32+2*r:][:2], b[2:])
}

func putHeadD(at int) func(dst []byte, r int, block []byte) {
	return func(dst []byte, r int, b []byte) { copy(dst[2*r:][:2], b[at:]) }
}

func putHeadDM(at int) func(dst []byte, r int, block []byte) {
	return func(dst []byte, r int, b []byte) { putDM(dst, r, 0, b[at:]) }
}

func putScaleMin(dst []byte, r, g int, b []byte) { dst[r], dst[16+r] = scaleMin6(b[4:], g) }

// blockBytes is what 32 columns of a tile take, but for a superblock's head.
func (p packing) blockBytes() int { return p.scales + 64*p.bits }

// tileBytes is what a tile of cols columns takes.
func tileBytes(typ gguf.Type, cols int) int {
	if p, ok := packings[typ]; ok {
		return cols/32*p.blockBytes() + p.head*cols/256
	}
	return tileRows * typ.RowBytes(cols)
}

// packTile packs rows [lo, lo+16) of w, fewer at its end: the rest are zeros.
func packTile(dst []byte, w *weight, lo int, s *scratch) {
	n := min(tileRows, w.rows-lo)
	if n < tileRows {
		clear(dst)
	}
	p, quantised := packings[w.typ]
	if !quantised {
		packColumns(dst, w, lo, n)
		return
	}
	u := grow(&s.u, w.cols)
	for r := range n {
		row := w.row(lo + r)
		w.rawQuants(u, row)
		packRow(dst, p, r, row, u, w.typ)
	}
}

// packRow puts one row into a tile.
func packRow(dst []byte, p packing, r int, row []byte, u []uint8, typ gguf.Type) {
	size, bytes := typ.BlockSize(), typ.BlockBytes()
	for ; len(u) > 0; u, row = u[size:], row[bytes:] {
		if p.head > 0 {
			p.putHead(dst, r, row)
			dst = dst[p.head:]
		}
		for g := range size / 32 {
			p.put(dst, r, g, row)
			p.putQuants(dst[p.scales:], r, u[32*g:][:32])
			dst = dst[p.blockBytes():]
		}
	}
}

// putQuants puts 32 quants of row r into their planes, four columns in a dword at a time.
func (p packing) putQuants(dst []byte, r int, u []uint8) {
	put := func(plane int, v uint32) { binary.LittleEndian.PutUint32(dst[64*plane+4*r:], v) }
	column := func(k int) uint32 { return binary.LittleEndian.Uint32(u[4*k:]) }
	// planes puts bits [at, at+width) of every quant side by side, 8/width of them to a byte.
	planes := func(first, at, width int) {
		mask := uint32(1<<width-1) * 0x01010101
		for k := 0; k < 8; k += 8 / width {
			v := uint32(0)
			for i := range 8 / width {
				v |= column(k+i) >> at & mask << (width * i)
			}
			put(first+k*width/8, v)
		}
	}
	switch p.bits {
	case 8:
		for k := range 8 {
			put(k, column(k))
		}
		return
	case 2, 3:
		planes(0, 0, 2)
	default:
		for k := range 4 {
			put(k, column(k)&0x0f0f0f0f|column(4+k)&0x0f0f0f0f<<4)
		}
	}
	switch p.bits {
	case 3:
		planes(2, 2, 1)
	case 5:
		planes(4, 4, 1)
	case 6:
		planes(4, 4, 2)
	}
}

// packColumns puts n rows of numbers side by side, column after column.
func packColumns(dst []byte, w *weight, lo, n int) {
	size := w.typ.BlockBytes()
	for r := range n {
		row := w.row(lo + r)
		if size == 4 {
			for c := range w.cols {
				binary.LittleEndian.PutUint32(dst[(c*tileRows+r)*4:], binary.LittleEndian.Uint32(row[4*c:]))
			}
			continue
		}
		for c := range w.cols {
			binary.LittleEndian.PutUint16(dst[(c*tileRows+r)*2:], binary.LittleEndian.Uint16(row[2*c:]))
		}
	}
}
