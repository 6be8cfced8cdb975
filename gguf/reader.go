package gguf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	magic      = "GGUF"
	maxName    = 65535 // bytes of a key or of a tensor's name; ggml's own limits are 65535 and 63
	maxDims    = 4
	minKV      = 8 + 4 + 1         // an empty key, a kind and a byte
	minTensor  = 8 + 4 + 8 + 4 + 8 // an empty name and one dimension
	defAlign   = 32
	keyAlign   = "general.alignment"
	cutShort   = "the file is cut short or damaged: download it again"
	lfsPointer = "version https://git-lfs"
)

var (
	le       = binary.LittleEndian
	errEmpty = errors.New("the file is empty, want a GGUF model")
)

// parse reads a whole GGUF file; Path and maps are left to the caller. Tensors' Data are views into b.
func parse(b []byte) (*File, error) {
	size := uint64(len(b))
	f, offsets, data, err := parseHeader(b, size)
	if err != nil {
		return nil, err
	}
	if err := f.place(offsets, data, size); err != nil {
		return nil, err
	}
	for i := range f.Tensors {
		start := data + offsets[i]
		end := start + uint64(f.Tensors[i].Bytes())
		f.Tensors[i].Data = b[start:end:end]
	}
	return f, nil
}

// parseHeader reads what comes before the tensors' data: b holds at least that, size is the whole file's. The data
// starts at byte data; offsets, one a tensor, count from there and are not checked yet.
func parseHeader(b []byte, size uint64) (f *File, offsets []uint64, data uint64, err error) {
	c := cursor{b: b}
	version, nTensors, nKVs := c.head()
	if c.err != nil {
		return nil, nil, 0, c.err
	}
	f = &File{Version: version, values: map[string]any{}, tensors: map[string]int{}}
	if left := uint64(len(b) - c.off); nKVs > left/minKV || nTensors > left/minTensor {
		return nil, nil, 0, fmt.Errorf("%d keys and %d tensors do not fit the %d bytes after the header: %s", nKVs, nTensors, left, cutShort)
	}
	for i := range nKVs {
		key := c.string(maxName, "a key")
		value := c.value(c.uint32("a kind"), 0)
		if c.err != nil {
			return nil, nil, 0, fmt.Errorf("key %d of %d %.80q: %w", i+1, nKVs, key, c.err)
		}
		if _, dup := f.values[key]; dup {
			return nil, nil, 0, fmt.Errorf("key %d of %d %.80q is there twice, want each key once", i+1, nKVs, key)
		}
		f.kvs = append(f.kvs, KV{key, value})
		f.values[key] = value
	}
	align, err := alignment(f.kvs)
	if err != nil {
		return nil, nil, 0, err
	}
	f.Alignment = int(align)
	for i := range nTensors {
		t, offset := c.tensor(size)
		if c.err != nil {
			return nil, nil, 0, fmt.Errorf("tensor %d of %d %.80q: %w", i+1, nTensors, t.Name, c.err)
		}
		if err := f.add(t); err != nil {
			return nil, nil, 0, err
		}
		offsets = append(offsets, offset)
	}
	return f, offsets, pad(uint64(c.off), align), nil
}

// head reads the magic, the version and the two counts.
func (c *cursor) head() (version int, tensors, kvs uint64) {
	start := string(c.b[:min(len(c.b), len(magic))])
	switch {
	case start == "":
		c.err = errEmpty
	case bytes.HasPrefix(c.b, []byte(lfsPointer)):
		c.fail("this is a Git LFS pointer, not the model: run git lfs pull")
	case !strings.HasPrefix(magic, start):
		c.fail("not a GGUF file: it starts with %q, want %q", start, magic)
	}
	c.take(uint64(len(magic)), "the magic")
	v := c.uint32("the version")
	switch {
	case v != 0 && v&0xffff == 0: // a small number in the other byte order
		c.fail("the file is big-endian, want little-endian: convert it with gguf-py's gguf_convert_endian.py")
	case v != 2 && v != 3:
		c.fail("GGUF version %d is not supported, want 2 or 3: convert the model again", v)
	}
	return int(v), c.uint64("the tensor count"), c.uint64("the key count")
}

// tensor reads one entry of the directory: the tensor without its data, and its offset.
func (c *cursor) tensor(size uint64) (t Tensor, offset uint64) {
	t.Name = c.string(maxName, "a tensor name")
	n := c.uint32("the number of dimensions")
	if n < 1 || n > maxDims {
		c.fail("it has %d dimensions, want 1 to %d", n, maxDims)
		return t, 0
	}
	dims := make([]uint64, n)
	for i := range dims {
		dims[i] = c.uint64("a dimension")
	}
	t.Type = Type(c.uint32("a tensor type"))
	offset = c.uint64("an offset")
	if c.err != nil {
		return t, 0
	}
	if !t.Type.supported() {
		c.fail("type %d is not supported (have %s)", uint32(t.Type), typeNames())
		return t, 0
	}
	if block := uint64(t.Type.BlockSize()); dims[0]%block != 0 {
		c.fail("its rows have %d values, want a multiple of %v's block, %d", dims[0], t.Type, block)
		return t, 0
	}
	// No supported type stores four values in a byte, nor takes more than four bytes a value: within these bounds a
	// tensor's values and bytes are ints.
	left := min(4*size, math.MaxInt/4)
	for _, d := range dims {
		if d == 0 {
			c.fail("its shape is %d, want dimensions of at least 1", dims)
			return t, 0
		}
		left /= d
		t.Shape = append(t.Shape, int(d))
	}
	if left == 0 {
		c.fail("its shape %d of %v takes more than the file's %d bytes: %s", dims, t.Type, size, cutShort)
	}
	return t, offset
}

// place checks that each tensor is aligned, in the file, and apart from the others; the padding after the last one may
// be missing. The data starts at byte data of a file of size bytes.
func (f *File) place(offsets []uint64, data, size uint64) error {
	order := make([]int, len(offsets)) // tensors by offset
	for i, t := range f.Tensors {
		order[i] = i
		if offsets[i]%uint64(f.Alignment) != 0 {
			return fmt.Errorf("tensor %.80q has offset %d, want a multiple of the alignment, %d", t.Name, offsets[i], f.Alignment)
		}
		if n := uint64(t.Bytes()); data > size || offsets[i] > size-data || n > size-data-offsets[i] {
			return fmt.Errorf("tensor %.80q has %d bytes at offset %d of the data, which starts at byte %d, but the file has %d bytes: %s",
				t.Name, n, offsets[i], data, size, cutShort)
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(offsets[i], offsets[j]) })
	for k := 1; k < len(order); k++ {
		i, j := order[k-1], order[k]
		if end := offsets[i] + uint64(f.Tensors[i].Bytes()); end > offsets[j] {
			return fmt.Errorf("tensors %.80q and %.80q overlap: one ends at offset %d, the other starts at %d",
				f.Tensors[i].Name, f.Tensors[j].Name, end, offsets[j])
		}
	}
	return nil
}

// add appends t to the directory.
func (f *File) add(t Tensor) error {
	if _, dup := f.tensors[t.Name]; dup {
		return fmt.Errorf("tensor %.80q is there twice, want each name once", t.Name)
	}
	f.tensors[t.Name] = len(f.Tensors)
	f.Tensors = append(f.Tensors, t)
	return nil
}

// alignment returns what the key general.alignment says, or the default.
func alignment(kvs []KV) (uint64, error) {
	i := slices.IndexFunc(kvs, func(kv KV) bool { return kv.Key == keyAlign })
	if i < 0 {
		return defAlign, nil
	}
	n, ok := kvs[i].Value.(uint32)
	if !ok || n == 0 || n&(n-1) != 0 {
		return 0, fmt.Errorf("key %q is %s, want a power of two as uint32", keyAlign, describe(kvs[i].Value))
	}
	return uint64(n), nil
}

// pad rounds n up to a multiple of align, a power of two.
func pad(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }

// cursor reads values one after the other. The first failure sticks, and what is read after it is zero: a caller
// checks err once an item, and before it trusts a count.
type cursor struct {
	b   []byte
	off int
	err error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// take returns the next n bytes, or nil if there are not as many.
func (c *cursor) take(n uint64, what string) []byte {
	if left := len(c.b) - c.off; c.err == nil && n > uint64(left) {
		c.fail("%s at byte %d takes %d bytes, but %d are left: %s", what, c.off, n, left, cutShort)
	}
	if c.err != nil {
		return nil
	}
	b := c.b[c.off : c.off+int(n)]
	c.off += int(n)
	return b
}

func (c *cursor) uint32(what string) uint32 {
	if b := c.take(4, what); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64(what string) uint64 {
	if b := c.take(8, what); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// string reads a string of at most limit bytes. Bytes that are not UTF-8 are kept: tokens may have them.
func (c *cursor) string(limit uint64, what string) string {
	return string(c.stringBytes(limit, what))
}

func (c *cursor) stringBytes(limit uint64, what string) []byte {
	at, n := c.off, c.uint64(what)
	if n > limit {
		c.fail("%s at byte %d has %d bytes, want at most %d", what, at, n, limit)
	}
	return c.take(n, what)
}
