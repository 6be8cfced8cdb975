// Package backend is the contract between the model and a device: the operations a forward pass is made of, and the suite of tests that every device passes.
//
// A backend may run an operation at once (the CPU) or record it and run the list when something is read (a GPU). Operations therefore return no
// error: the first failure sticks, makes all later operations do nothing, and is returned, with the operation's name, by the next Read or ArgMax.
// A wrong shape is a bug of the caller and panics. A backend is used by one goroutine at a time.
package backend

import (
	"fmt"

	"mustafar/gguf"
)

// Backend is a device. All activations are f32, rows contiguous.
type Backend interface {
	// Name is what --device calls it; Info says in a few words what it runs on.
	Name() string
	Info() string

	// Upload makes a weight of a tensor of the file: a vector, a matrix of rows (Cols, contiguous), or several matrices, experts, in a tensor of three
	// dimensions. The bytes must stay mapped until Close. A type that the device cannot hold is an error.
	Upload(t gguf.Tensor) (Weight, error)
	// Table is Upload for a matrix that only Embed reads.
	Table(t gguf.Tensor) (Weight, error)

	// Alloc takes memory for rows × cols activations, their values undefined; Free gives it back. Freeing is an operation like the others: what was asked for before it still runs.
	Alloc(rows, cols int) Tensor
	Free(t Tensor)

	// Embed writes row ids[i] of w (vocab, embd) to row i of out.
	Embed(out Tensor, w Weight, ids []int32)
	// RMSNorm writes x / sqrt(mean(x²) + eps) · w, row by row; w is a vector. out may be x.
	RMSNorm(out, x Tensor, w Weight, eps float32)
	// MatMul writes x·Wᵀ to each of outs: x (n, cols), W (rows, cols), out (n, rows). A row's result does not depend on the other rows of x.
	MatMul(x Tensor, outs []Out)
	// RoPE rotates, in every head of headDim channels of row i, the pairs (2j, 2j+1), j < len(r.Freq), by the angle pos[i]·r.Freq[j].
	RoPE(x Tensor, headDim int, pos []int32, r *Rope)
	// SwiGLU writes silu(gate)·up. out may be gate.
	SwiGLU(out, gate, up Tensor)
	// Add adds y to x.
	Add(x, y Tensor)
	// Experts writes the output of a mixture of experts: of softmax(Router·x) the Used largest, made to sum to 1, weigh the experts' SwiGLU networks.
	Experts(out, x Tensor, e *Experts)

	// NewStore makes the K and V store of one layer.
	NewStore(s StoreSpec) Store

	// Read waits for what was asked for and copies x to dst, or returns the first failure.
	Read(dst []float32, x Tensor) error
	// ArgMax waits as Read does and writes the column of each row's largest value, the lowest among equals.
	ArgMax(dst []int32, x Tensor) error
	// Close gives everything back.
	Close() error
}

// Tensor is a view of rows of f32 in a device's memory: (Rows, Cols), row-major. The zero Tensor is no tensor.
type Tensor struct {
	Buf        Buffer
	Off        int // of the first element in Buf
	Rows, Cols int
}

// Buffer is memory of a device; only the backend that made it knows what is inside.
type Buffer interface{ Len() int }

// Range returns the view of rows [lo, hi).
func (t Tensor) Range(lo, hi int) Tensor {
	if lo < 0 || hi < lo || hi > t.Rows {
		panic(fmt.Sprintf("backend: rows [%d, %d) of a tensor of %d", lo, hi, t.Rows))
	}
	return Tensor{t.Buf, t.Off + lo*t.Cols, hi - lo, t.Cols}
}

// Weight is a matrix of the model on a device.
type Weight interface {
	// Shape returns rows × cols; an expert tensor's rows are experts × rows.
	Shape() (rows, cols int)
	// Bytes is what the device holds of it, the file's mapped bytes included.
	Bytes() int64
	// Mapped reports whether the file's bytes are read again after Upload; if not, their pages may be given back.
	Mapped() bool
}

// Out is one product of MatMul.
type Out struct {
	Y Tensor // (n, rows)
	W Weight // (rows, cols)
}

// Rope is how positions turn channels: pair j of a head turns by Freq[j] a position; 2·len(Freq) channels turn, the rest stay. Mag scales the turned
// channels (YaRN's attention factor), 1 for none.
type Rope struct {
	Freq []float64
	Mag  float32
}

// Experts are the weights of a mixture of experts.
type Experts struct {
	Router         Weight // (experts, embd)
	Gate, Up, Down Weight // (experts·ff, embd), the same, (experts·embd, ff)
	Count, Used    int
}

// MustMatch panics unless every tensor has the shape rows × cols; backends check the shapes of an operation with it.
func MustMatch(op string, rows, cols int, ts ...Tensor) {
	for _, t := range ts {
		if t.Rows != rows || t.Cols != cols {
			panic(fmt.Sprintf("backend: %s: a tensor is %d × %d, want %d × %d", op, t.Rows, t.Cols, rows, cols))
		}
	}
}
