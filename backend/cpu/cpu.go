// Package cpu is the backend in Go: plain loops that define every operation, and SIMD kernels for the inner ones, chosen once at start-up.
package cpu

import (
	"fmt"
	"unsafe"

	"mustafar/backend"
)

// Options choose how the backend computes.
type Options struct {
	Threads int    // 0: the physical cores
	F32     bool   // keep activations in f32 in matrix products, for checking; otherwise they are rounded to int8, a scale per 32
	Level   string // "avx512", "avx2" or "generic"; empty: the best there is

	NoRepack bool // leave matrices as the file has them: no second copy, a start at once, slower products
}

// CPU is the backend. It implements backend.Backend.
type CPU struct {
	opt     Options
	k       *kernels
	pool    *pool
	scratch []scratch // a worker

	weights bump // packed matrices
	mm      matmulJob
	ew      elementwiseJob
	rope    angles
	att     attendJob
	moe     expertBuffers
	dense   map[int]*arena // of dense blocks, by their size
}

var _ backend.Backend = (*CPU)(nil)

// New starts the workers. An unknown or missing SIMD level is an error.
func New(o Options) (*CPU, error) {
	k, err := pick(o.Level)
	if err != nil {
		return nil, err
	}
	if o.Threads <= 0 {
		o.Threads = defaultThreads()
	}
	return &CPU{
		opt: o, k: k, pool: newPool(o.Threads), scratch: make([]scratch, o.Threads), dense: map[int]*arena{},
	}, nil
}

// Name returns "cpu".
func (c *CPU) Name() string { return "cpu" }

// Info names the SIMD level and the number of threads.
func (c *CPU) Info() string {
	return fmt.Sprintf("%s, %d threads", c.k.name, c.opt.Threads)
}

// Close ends the workers. Memory goes with the tensors and stores.
func (c *CPU) Close() error {
	c.pool.close()
	return nil
}

// buffer is the memory of tensors.
type buffer struct {
	f    []float32
	slab *slab
}

func (b *buffer) Len() int { return len(b.f) }

// Alloc takes memory outside Go's heap.
func (c *CPU) Alloc(rows, cols int) backend.Tensor {
	n := rows * cols
	s := newSlab(4 * max(n, 1))
	return backend.Tensor{
		Buf:  &buffer{unsafe.Slice((*float32)(unsafe.Pointer(&s.data[0])), n), s},
		Rows: rows, Cols: cols,
	}
}

// Free gives the memory of a tensor back.
func (c *CPU) Free(t backend.Tensor) {
	b := t.Buf.(*buffer)
	b.slab.free()
	b.f = nil
}

// floats returns the elements of a tensor.
func floats(t backend.Tensor) []float32 {
	return t.Buf.(*buffer).f[t.Off:][:t.Rows*t.Cols]
}

// Read copies x to dst.
func (c *CPU) Read(dst []float32, x backend.Tensor) error {
	copy(dst, floats(x))
	return nil
}

// ArgMax writes the column of each row's largest value.
func (c *CPU) ArgMax(dst []int32, x backend.Tensor) error {
	f := floats(x)
	for i := range dst[:x.Rows] {
		dst[i] = argMax(f[i*x.Cols:][:x.Cols])
	}
	return nil
}

func argMax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// scratch is a worker's memory; grow makes a slice of at least n elements of it.
type scratch struct {
	u    []uint8
	d, m []float32
	row  []float32

	tile, unpacked, columns []byte // of a matrix
	beside                  []float32

	k, v []float32
	s    []float32
	sums []float32

	tmp, weights []byte
	values       []byte
	ones         []uint64
	factors      []float32
	prompt       promptScratch
}

func grow[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:cap(*s)]
	return (*s)[:n]
}
