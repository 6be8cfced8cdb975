// Package gguf reads GGUF files, ggml's model format, as views into the mapped file, and writes them for tests.
//
//	header   "GGUF"  u32 version  u64 tensors  u64 pairs   version 2 or 3; every number is little-endian
//	pairs    string key  u32 kind  value                   kinds 0..12: u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64
//	                                                       string: u64 length, bytes; array: u32 kind, u64 count, values
//	tensors  string name  u32 n  u64 dim[n]                dim[0] is contiguous in memory
//	         u32 type  u64 offset                          type: ggml's number; offset: from the start of the data
//	padding  to a multiple of the alignment                the key general.alignment, or 32
//	data     of each tensor, at a multiple of the alignment
//
// A model split into files -00001-of-0000N.gguf is opened by the name of its first part; the other parts add their
// tensors. The format is described in ggml's docs/gguf.md, the blocks of quantised tensors in its src/ggml-common.h.
package gguf

import (
	"errors"
	"unsafe"
)

// File is an open GGUF file, or all the parts of a split one. It may be read from several goroutines at once until
// Close. The files must not be changed while they are open: a mapped file that shrinks ends the program on access.
type File struct {
	Path      string // as given to Open
	Version   int    // 2 or 3
	Alignment int    // of the tensors' data, in bytes; the first part's
	Tensors   []Tensor

	kvs     []KV           // in file order
	values  map[string]any // kvs by key
	tensors map[string]int // index in Tensors by name
	maps    [][]byte       // one mapping a part
}

// Tensor is one entry of the tensor directory.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int  // GGUF's order: Shape[0] is the contiguous dimension, the columns; 1 to 4 dimensions
	Data  []byte // a read-only view into the mapped file, aligned as the file says, valid until Close
}

// Cols returns the length of a row, Shape[0].
func (t Tensor) Cols() int { return t.Shape[0] }

// Rows returns the product of all dimensions but the first.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= d
	}
	return n
}

// Elems returns the number of values.
func (t Tensor) Elems() int { return t.Rows() * t.Cols() }

// Bytes returns the bytes of all values as they are stored.
func (t Tensor) Bytes() int { return t.Rows() * t.Type.RowBytes(t.Cols()) }

// Tensor returns the tensor of that name and whether there is one.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.tensors[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Size returns the bytes of the file, of all parts together.
func (f *File) Size() int64 {
	n := int64(0)
	for _, m := range f.maps {
		n += int64(len(m))
	}
	return n
}

// Discard tells the system that the pages inside data, a view of this file, are not needed any more: used once
// weights have been repacked. Reading them again is allowed and reads the file. Other memory is left alone.
func (f *File) Discard(data []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	for _, m := range f.maps {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(m)))
		if at >= start && at+uintptr(len(data)) <= start+uintptr(len(m)) {
			discard(data)
		}
	}
}

// Close unmaps the file: no tensor's Data may be used after it. Metadata stays valid, and a second Close does nothing.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, unmapFile(m))
	}
	f.maps = nil
	for i := range f.Tensors {
		f.Tensors[i].Data = nil
	}
	return errors.Join(errs...)
}
