package cpu

import (
	"mustafar/backend"
	"mustafar/gguf"
)

// matmulJob is a MatMul cut into chunks of weight tiles; products with the same input share its rounded form.
type matmulJob struct {
	c       *CPU
	outs    []product
	x       []float32 // (n, cols)
	n, cols int
	panels  []rowPanel // x rounded to int8
	direct  bool       // one panel that kernels multiply with packed tiles
	bytes   []byte     // of the panels
}

// product is one output of a MatMul.
type product struct {
	y     []float32
	w     *weight
	first int // number of its first chunk
	per   int // tiles of w in a chunk
	cuts  int // chunks that its tiles make; with more panels than fit the cache, there are as many again
}

// rowPanel is the panel of rows [lo, lo+n) of the input.
type rowPanel struct {
	panel
	lo, n int
}

const (
	// chunkBytes is the packed weights of a chunk where few rows are multiplied and memory is what takes time: about 5 µs.
	chunkBytes = 96 << 10
	// chunkWork is the multiplications of a chunk otherwise.
	chunkWork = 2 << 20
	// panelCache is how many bytes of panels stay in a core's second cache while tiles pass.
	panelCache = 640 << 10
)

// MatMul writes x·Wᵀ to each of outs.
func (c *CPU) MatMul(x backend.Tensor, outs []backend.Out) {
	c.mm.outs = c.mm.outs[:0]
	for _, o := range outs {
		w := o.W.(*weight)
		backend.MustMatch("MatMul: input", x.Rows, w.cols, x)
		backend.MustMatch("MatMul: output", x.Rows, w.rows, o.Y)
		c.mm.outs = append(c.mm.outs, product{y: floats(o.Y), w: w})
	}
	c.multiplyAll(floats(x), x.Rows, x.Cols)
}

// multiply writes n rows of x times each weight.
func (c *CPU) multiply(x []float32, n int, outs ...product) {
	c.mm.outs = append(c.mm.outs[:0], outs...)
	c.multiplyAll(x, n, outs[0].w.cols)
}

// multiplyAll runs the products that c.mm.outs names, in one hand-over.
func (c *CPU) multiplyAll(x []float32, n, cols int) {
	j := &c.mm
	j.c, j.x, j.n, j.cols = c, x, n, cols
	quantise := false
	for _, o := range j.outs {
		quantise = quantise || c.quantised(o.w)
	}
	if quantise {
		j.quantise()
	}
	chunks := 0
	for i := range j.outs {
		o := &j.outs[i]
		o.first = chunks
		if n <= 4 {
			o.per = max(1, chunkBytes/max(1, tileBytes(o.w.typ, cols)))
		} else {
			o.per = max(1, chunkWork/(tileRows*cols*n))
		}
		o.cuts = (o.w.tileCount() + o.per - 1) / o.per
		chunks += o.cuts * j.rounds()
	}
	c.pool.run(j, chunks)
}

// quantised reports whether products with w round the activations to int8.
func (c *CPU) quantised(w *weight) bool {
	return !c.opt.F32 && w.typ != gguf.F32 && w.typ != gguf.F16 && w.typ != gguf.BF16
}

// quantise rounds x into panels. The sizes of panels do not change a sum.
func (j *matmulJob) quantise() {
	direct, unpacked := panelSizes(j.c.k)
	sizes := direct
	j.direct = j.n <= direct[len(direct)-1]
	if !j.direct {
		sizes = unpacked
	}
	most := sizes[len(sizes)-1]
	j.panels = j.panels[:0]
	at := 0
	for lo := 0; lo < j.n; {
		n := min(most, j.n-lo)
		m := most
		for _, size := range sizes {
			if size >= n {
				m = size
				break
			}
		}
		j.panels = append(j.panels, rowPanel{panel{m: m}, lo, n})
		at += panelBytes(m, j.cols)
		lo += n
	}
	bytes := grow(&j.bytes, at)
	for i := range j.panels {
		p := &j.panels[i]
		size := panelBytes(p.m, j.cols)
		p.data, bytes = bytes[:size:size], bytes[size:]
	}
	if j.n < 8 {
		for i := range j.panels {
			j.roundPanel(i)
		}
		return
	}
	j.c.pool.run((*quantiseJob)(j), len(j.panels))
}

// quantiseJob is the rounding of a matmulJob's input, a panel a chunk.
type quantiseJob matmulJob

func (j *quantiseJob) do(chunk, _ int) { (*matmulJob)(j).roundPanel(chunk) }

func (j *matmulJob) roundPanel(i int) {
	p := j.panels[i]
	round := j.c.k.quantise
	if round == nil {
		round = quantiseGeneric
	}
	if p.n < p.m { // nobody reads the rows that are not there, but what is in them must not make arithmetic slow
		for b := range j.cols / 32 {
			clear(p.data[panelBlock*p.m*b:][:panelBlock*p.m])
		}
	}
	for r := range p.n {
		round(p.panel, r, j.x[(p.lo+r)*j.cols:][:j.cols])
	}
}

// panelSizes are the rows of panels that a level's kernels take, rising.
func panelSizes(k *kernels) (direct, unpacked []int) {
	switch {
	case !k.packs():
		return []int{1}, []int{1}
	case k.matrices[gguf.Q4_0].direct[4] != nil:
		return []int{1, 4}, []int{8, 16}
	default:
		return []int{1}, []int{4}
	}
}

// rounds is how often the tiles pass: once for as many rows as stay in the cache.
func (j *matmulJob) rounds() int {
	rows := j.rowsAtOnce()
	return (j.n + rows - 1) / rows
}

// rowsAtOnce is a multiple of every panel's size.
func (j *matmulJob) rowsAtOnce() int {
	return max(1, panelCache/panelBytes(16, j.cols)) * 16
}

func (j *matmulJob) do(chunk, worker int) {
	i := len(j.outs) - 1
	for j.outs[i].first > chunk {
		i--
	}
	o := &j.outs[i]
	chunk -= o.first
	lo := chunk % o.cuts * o.per
	hi := min(lo+o.per, o.w.tileCount())
	round, rows := chunk/o.cuts, j.rowsAtOnce()
	from, to := round*rows, min((round+1)*rows, j.n)
	s := &j.c.scratch[worker]
	switch {
	case !j.c.k.packs():
		j.plain(o, lo*tileRows, min(hi*tileRows, o.w.rows), from, to, s)
	case !j.c.quantised(o.w):
		j.floats(o, lo, hi, from, to, s)
	case j.direct:
		j.packedTiles(o, lo, hi, s)
	default:
		j.unpackedTiles(o, lo, hi, from, to, s)
	}
}

// packedTiles multiplies tiles [lo, hi) with the only panel.
func (j *matmulJob) packedTiles(o *product, lo, hi int, s *scratch) {
	p := j.panels[0]
	mul := j.c.k.matrices[o.w.typ].direct[p.m]
	blocks := j.cols / max(32, o.w.typ.BlockSize())
	whole := hi
	if p.n < p.m {
		whole = lo
	} else if hi*tileRows > o.w.rows {
		whole--
	}
	if o.w.tiles != nil && whole > lo {
		mul(&o.w.tiles[lo*o.w.tile], &p.data[0], &o.y[lo*tileRows], blocks, whole-lo, 4*o.w.rows)
		lo = whole
	}
	for t := lo; t < hi; t++ {
		out := newOutput(o, t, p.lo, p.n, p.m, s)
		mul(&o.w.tileAt(t, s)[0], &p.data[0], out.first, blocks, 1, out.stride)
		out.copy()
	}
}

// unpackedTiles multiplies tiles [lo, hi) with the panels of rows [from, to).
func (j *matmulJob) unpackedTiles(o *product, lo, hi, from, to int, s *scratch) {
	k := j.c.k.matrices[o.w.typ]
	u := grow(&s.unpacked, j.cols/32*unpackedBlock)
	for t := lo; t < hi; t++ {
		k.unpack(&u[0], &o.w.tileAt(t, s)[0], j.cols/max(32, o.w.typ.BlockSize()))
		for _, p := range j.panels {
			if p.lo < from || p.lo >= to {
				continue
			}
			out := newOutput(o, t, p.lo, p.n, p.m, s)
			k.unpacked[p.m](&u[0], &p.data[0], out.first, j.cols/32, out.stride)
			out.copy()
		}
	}
}

// unpackedBlock is the room of a block of an unpacked tile: 8 × 64 bytes of quants, scales and minima of two groups.
const unpackedBlock = 512 + 2*128

// maxFloatRows is the most rows that a float kernel takes.
const maxFloatRows = 16

// floatRows returns how many of n rows the level's largest float kernel takes; any number is made of such steps without a rest.
func (k *kernels) floatRows(n int) int {
	for size := maxFloatRows; size > 1; size /= 2 {
		if size <= n && k.adders[size] != nil {
			return size
		}
	}
	return 1
}

// floats multiplies tiles [lo, hi), as columns of numbers, with rows [from, to) of f32.
func (j *matmulJob) floats(o *product, lo, hi, from, to int, s *scratch) {
	typ := o.w.typ
	quantised := typ.BlockSize() > 1
	if quantised {
		typ = gguf.F32
	}
	size, kernels := typ.BlockBytes(), j.c.k.floats[typ]
	for t := lo; t < hi; t++ {
		tile := o.w.tileAt(t, s)
		if quantised {
			columns := grow(&s.columns, 4*tileRows*j.cols)
			j.c.k.matrices[o.w.typ].floats(&columns[0], &tile[0], j.cols/max(32, o.w.typ.BlockSize()))
			tile = columns
		}
		for r := from; r < to; {
			m := j.c.k.floatRows(to - r)
			out := newOutput(o, t, r, m, m, s)
			kernels[m](&tile[0], bytePtr(j.x[r*j.cols:]), out.first, j.cols, tileRows*size, 4*j.cols, out.stride)
			out.copy()
			r += m
		}
	}
}

// output is where a kernel writes m rows of 16 numbers: in place, or, where rows or columns of it are not there, beside it to be copied.
type output struct {
	first      *float32
	stride     int // bytes
	beside     []float32
	y          []float32
	rows, cols int // to copy
	width      int // of y
}

func newOutput(o *product, tile, row, n, m int, s *scratch) output {
	width, at := o.w.rows, tile*tileRows
	y := o.y[row*width+at:]
	if n == m && at+tileRows <= width {
		return output{first: &y[0], stride: 4 * width}
	}
	beside := grow(&s.beside, m*tileRows)
	return output{first: &beside[0], stride: 4 * tileRows, beside: beside, y: y, rows: n, cols: min(tileRows, width-at), width: width}
}

func (o output) copy() {
	for r := range o.rows {
		copy(o.y[r*o.width:][:o.cols], o.beside[r*tileRows:])
	}
}

// plain multiplies weight rows [lo, hi) as the file holds them: the twin of all of the above.
func (j *matmulJob) plain(o *product, lo, hi, from, to int, s *scratch) {
	w := o.w
	rounded := w.typ == gguf.Q4_1 || w.typ == gguf.Q5_1
	for r := lo; r < hi; r++ {
		if !j.c.quantised(w) {
			row := grow(&s.row, w.cols)
			j.c.dequantiseRow(row, w, r, s)
			for i := from; i < to; i++ {
				o.y[i*w.rows+r] = dotGeneric(row, j.x[i*j.cols:][:j.cols])
			}
			continue
		}
		u, d, m, group := w.unpackRow(r, s)
		for i := from; i < to; i++ {
			o.y[i*w.rows+r] = dotUnpacked(u, d, m, group, rounded, j.panels[i].panel)
		}
	}
}
