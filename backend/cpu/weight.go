package cpu

import (
	"fmt"

	"mustafar/backend"
	"mustafar/gguf"
)

// weight is a matrix as the file holds it.
type weight struct {
	name       string
	typ        gguf.Type
	rows, cols int
	rowBytes   int
	data       []byte
	vector     []float32 // of a tensor with one row: norms
}

// Upload keeps a view of the tensor's bytes; a vector is converted to f32.
func (c *CPU) Upload(t gguf.Tensor) (backend.Weight, error) {
	w := &weight{name: t.Name, typ: t.Type, rows: t.Rows(), cols: t.Cols(), rowBytes: t.Type.RowBytes(t.Cols()), data: t.Data}
	if _, ok := unpackers[t.Type]; !ok && t.Type != gguf.F32 && t.Type != gguf.F16 && t.Type != gguf.BF16 {
		return nil, fmt.Errorf("cpu: tensor %q: type %v has no kernel", t.Name, t.Type)
	}
	if w.rows == 1 {
		w.vector = make([]float32, w.cols)
		c.dequantiseRow(w.vector, w, 0, &c.scratch[0])
	}
	return w, nil
}

func (w *weight) Shape() (rows, cols int) { return w.rows, w.cols }

func (w *weight) Bytes() int64 { return int64(len(w.data)) + 4*int64(len(w.vector)) }

func (w *weight) row(i int) []byte { return w.data[i*w.rowBytes:][:w.rowBytes] }

// part returns rows [lo, hi) as a weight of its own: one expert of several.
func (w *weight) part(lo, hi int) *weight {
	p := *w
	p.rows, p.data, p.vector = hi-lo, w.data[lo*w.rowBytes:hi*w.rowBytes], nil
	return &p
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
