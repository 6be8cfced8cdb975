package cpu

import (
	"fmt"

	"mustafar/backend"
	"mustafar/gguf"
)

// weight is a matrix: as the file holds it, and packed where the level has kernels for that.
type weight struct {
	name       string
	typ        gguf.Type
	rows, cols int
	rowBytes   int
	data       []byte    // the file's
	vector     []float32 // of a tensor of one dimension: norms

	tiles []byte // packed; nil: data is read
	tile  int    // bytes of a packed tile
	parts int    // experts: each has tiles of its own
}

// Upload makes a matrix for products, or a vector. Quantised matrices are packed, unless the options say otherwise, and then need the file no more.
func (c *CPU) Upload(t gguf.Tensor) (backend.Weight, error) {
	w, err := newWeight(t)
	switch {
	case err != nil:
		return nil, err
	case len(t.Shape) == 1:
		w.vector = make([]float32, w.cols)
		c.dequantiseRow(w.vector, w, 0, &c.scratch[0])
	case c.k.packs():
		if len(t.Shape) == 3 {
			w.parts = t.Shape[2]
		}
		if w.cols%4 != 0 || w.rows%w.parts != 0 {
			return nil, fmt.Errorf("cpu: tensor %q of shape %v: want columns that are a multiple of 4", t.Name, t.Shape)
		}
		w.tile = tileBytes(w.typ, w.cols)
		if !c.opt.NoRepack {
			c.packMatrix(w)
		}
	}
	return w, nil
}

// Table makes a matrix whose rows are only looked up.
func (c *CPU) Table(t gguf.Tensor) (backend.Weight, error) { return asWeight(newWeight(t)) }

func asWeight(w *weight, err error) (backend.Weight, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}

func newWeight(t gguf.Tensor) (*weight, error) {
	if _, ok := unpackers[t.Type]; !ok && t.Type != gguf.F32 && t.Type != gguf.F16 && t.Type != gguf.BF16 {
		return nil, fmt.Errorf("cpu: tensor %q: type %v has no kernel", t.Name, t.Type)
	}
	return &weight{name: t.Name, typ: t.Type, rows: t.Rows(), cols: t.Cols(), rowBytes: t.Type.RowBytes(t.Cols()), data: t.Data, parts: 1}, nil
}

// Shape returns rows and columns.
func (w *weight) Shape() (rows, cols int) { return w.rows, w.cols }

// Bytes is what is held in memory: the packed tiles, or the file's bytes.
func (w *weight) Bytes() int64 {
	if w.tiles != nil {
		return int64(len(w.tiles))
	}
	return int64(len(w.data)) + 4*int64(len(w.vector))
}

// Mapped reports whether the file's bytes are read after Upload.
func (w *weight) Mapped() bool { return w.tiles == nil && w.vector == nil }

func (w *weight) row(i int) []byte { return w.data[i*w.rowBytes:][:w.rowBytes] }

// part returns expert i of a tensor of several matrices.
func (w *weight) part(i, parts int) *weight {
	p := *w
	p.rows, p.parts = w.rows/parts, 1
	p.data = w.data[i*p.rows*w.rowBytes:][:p.rows*w.rowBytes]
	if w.tiles != nil {
		size := p.tileCount() * w.tile
		p.tiles = w.tiles[i*size:][:size]
	}
	return &p
}

// tileCount is the tiles of one part.
func (w *weight) tileCount() int { return (w.rows/w.parts + tileRows - 1) / tileRows }

// tileAt returns packed tile i; without packed tiles it is packed into the worker's scratch now.
func (w *weight) tileAt(i int, s *scratch) []byte {
	if w.tiles != nil {
		return w.tiles[i*w.tile:][:w.tile]
	}
	t := grow(&s.tile, w.tile)
	packTile(t, w, i*tileRows, s)
	return t
}

// packMatrixJob packs a matrix, a few tiles a chunk.
type packMatrixJob struct {
	c   *CPU
	w   *weight
	per int
}

func (c *CPU) packMatrix(w *weight) {
	n := w.tileCount() * w.parts
	w.tiles = c.weights.take(n * w.tile)
	j := &packMatrixJob{c, w, max(1, 64<<10/w.tile)}
	c.pool.run(j, (n+j.per-1)/j.per)
}

func (j *packMatrixJob) do(chunk, worker int) {
	w, per := j.w, j.w.tileCount()
	for i := chunk * j.per; i < min((chunk+1)*j.per, per*w.parts); i++ {
		part := w
		if w.parts > 1 {
			whole := *w
			whole.tiles = nil
			part = whole.part(i/per, w.parts)
		}
		packTile(w.tiles[i*w.tile:][:w.tile], part, i%per*tileRows, &j.c.scratch[worker])
	}
}

// rawQuants unpacks a row's quants alone: of IQ4 types the numbers of levels.
func (w *weight) rawQuants(u []uint8, row []byte) {
	p := unpackers[w.typ]
	size, bytes := w.typ.BlockSize(), w.typ.BlockBytes()
	var d, m [16]float32
	for ; len(row) > 0; row, u = row[bytes:], u[size:] {
		p.unpack(row, u[:size], d[:], m[:])
	}
}

// unpackRow unpacks row i into the worker's scratch and returns it with the columns of a group.
func (w *weight) unpackRow(i int, s *scratch) (u []uint8, d, m []float32, group int) {
	p := unpackers[w.typ]
	u, d, m = grow(&s.u, w.cols), grow(&s.d, w.cols/p.group), grow(&s.m, w.cols/p.group)
	size, bytes := w.typ.BlockSize(), w.typ.BlockBytes()
	for b, row := 0, w.row(i); b < w.cols/size; b++ {
		g := b * size / p.group
		p.unpack(row[b*bytes:][:bytes], u[b*size:][:size], d[g:], m[g:])
	}
	if w.typ == gguf.IQ4_NL || w.typ == gguf.IQ4_XS {
		for j, q := range u {
			u[j] = iq4Levels[q]
		}
	}
	return u, d, m, p.group
}

// dequantiseRow writes row i as f32.
func (c *CPU) dequantiseRow(dst []float32, w *weight, i int, s *scratch) {
	row := w.row(i)
	switch w.typ {
	case gguf.F32:
		copy(dst, asFloats(row))
	case gguf.F16:
		c.k.halves(dst, asHalves(row))
	case gguf.BF16:
		for j := range dst {
			dst[j] = bf16(row[2*j:])
		}
	default:
		u, d, m, group := w.unpackRow(i, s)
		for j := range dst {
			dst[j] = d[j/group]*float32(u[j]) + m[j/group]
		}
	}
}
