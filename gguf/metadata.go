package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
)

// KV is one pair of the metadata. Value has the Go type of the file's kind: uint8, int8, uint16, int16, uint32, int32,
// uint64, int64, float32, float64, bool or string; an array is a slice of those, and an array of arrays a []any of slices.
type KV struct {
	Key   string
	Value any
}

const (
	kindBool   = 7
	kindString = 8
	kindArray  = 9
	maxDepth   = 4 // arrays in arrays; ggml itself reads none, so this is generous
)

// kinds holds the Go type of each kind of value; an array's is what makes a slice of it an array of arrays.
var kinds = []reflect.Type{
	reflect.TypeFor[uint8](), reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[int16](),
	reflect.TypeFor[uint32](), reflect.TypeFor[int32](), reflect.TypeFor[float32](),
	kindBool: reflect.TypeFor[bool](), kindString: reflect.TypeFor[string](), kindArray: reflect.TypeFor[any](),
	reflect.TypeFor[uint64](), reflect.TypeFor[int64](), reflect.TypeFor[float64](),
}

// minBytes is the least that a value of this kind takes in a file.
func minBytes(kind uint32) uint64 {
	switch kind {
	case kindString:
		return 8
	case kindArray:
		return 4 + 8
	}
	return uint64(kinds[kind].Size())
}

// value reads a value of a kind; depth is how many arrays it is in.
func (c *cursor) value(kind uint32, depth int) any {
	switch {
	case c.err != nil:
		return nil
	case kind >= uint32(len(kinds)):
		c.fail("kind %d is unknown, want 0 to %d", kind, len(kinds)-1)
		return nil
	case kind == kindString:
		return c.string(math.MaxUint64, "a string")
	case kind == kindArray:
		return c.array(depth + 1)
	}
	v := reflect.New(kinds[kind])
	c.numbers(kind, 1, v.Interface())
	return v.Elem().Interface()
}

// array reads an array, the depth-th around a value, as a slice of its kind's Go type.
func (c *cursor) array(depth int) any {
	kind, n := c.uint32("an array's kind"), c.uint64("an array's count")
	switch {
	case c.err != nil:
		return nil
	case depth > maxDepth:
		c.fail("arrays are nested more than %d deep", maxDepth)
		return nil
	case kind >= uint32(len(kinds)):
		c.fail("an array's kind %d is unknown, want 0 to %d", kind, len(kinds)-1)
		return nil
	case n > uint64(len(c.b)-c.off)/minBytes(kind): // nothing is allocated before this
		c.fail("an array of %d values at byte %d does not fit the %d bytes left: %s", n, c.off, len(c.b)-c.off, cutShort)
		return nil
	case kind == kindString:
		return c.strings(int(n))
	case kind == kindArray:
		arrays := make([]any, n)
		for i := range arrays {
			arrays[i] = c.array(depth + 1)
		}
		return arrays
	}
	v := reflect.MakeSlice(reflect.SliceOf(kinds[kind]), int(n), int(n)).Interface()
	c.numbers(kind, n, v)
	return v
}

// numbers reads n numbers or bools into v, a pointer to one or a slice of n.
func (c *cursor) numbers(kind uint32, n uint64, v any) {
	b := c.take(n*minBytes(kind), "a "+kinds[kind].String())
	if kind == kindBool {
		if i := slices.IndexFunc(b, func(x byte) bool { return x > 1 }); i >= 0 {
			c.fail("a bool is %d, want 0 or 1", b[i])
		}
	}
	if c.err == nil {
		binary.Decode(b, le, v) // fails only for a v of the wrong size
	}
}

// strings reads n strings that share one copy of the file's bytes: a vocabulary has some 400,000.
func (c *cursor) strings(n int) []string {
	begin := c.off
	for range n {
		c.stringBytes(math.MaxUint64, "a string")
	}
	if c.err != nil {
		return nil
	}
	raw := c.b[begin:c.off]
	text, all := string(raw), make([]string, n)
	at := 0
	for i := range all {
		end := at + 8 + int(le.Uint64(raw[at:]))
		all[i], at = text[at+8:end], end
	}
	return all
}

// Keys returns the metadata in file order; of a split model, that of its first part. It is not to be changed.
func (f *File) Keys() []KV { return f.kvs }

// Has returns whether the metadata has this key.
func (f *File) Has(key string) bool { _, ok := f.values[key]; return ok }

// Int returns an integer of any type. An absent key, another type and a value that does not fit an int are errors,
// here and in the other getters; the Or forms give def where the key is absent, and only there.
func (f *File) Int(key string) (int, error) { return get(f, key, "an integer that fits an int", toInt) }

func (f *File) IntOr(key string, def int) (int, error) { return getOr(f, key, def, f.Int) }

// Float returns a float32, a float64 or an integer of any type.
func (f *File) Float(key string) (float64, error) { return get(f, key, "a number", toFloat) }

func (f *File) FloatOr(key string, def float64) (float64, error) { return getOr(f, key, def, f.Float) }

func (f *File) String(key string) (string, error) { return get(f, key, "a string", as[string]) }

func (f *File) StringOr(key, def string) (string, error) { return getOr(f, key, def, f.String) }

func (f *File) Bool(key string) (bool, error) { return get(f, key, "a bool", as[bool]) }

func (f *File) BoolOr(key string, def bool) (bool, error) { return getOr(f, key, def, f.Bool) }

// Strings returns an array of strings. Arrays are File's own: not to be changed.
func (f *File) Strings(key string) ([]string, error) {
	return get(f, key, "an array of strings", as[[]string])
}

// Floats returns an array of float32.
func (f *File) Floats(key string) ([]float32, error) {
	return get(f, key, "an array of float32", as[[]float32])
}

// Ints returns an array of integers of any type, all of which fit an int32.
func (f *File) Ints(key string) ([]int32, error) {
	return get(f, key, "an array of integers that fit 32 bits", toInts)
}

func get[T any](f *File, key, want string, convert func(any) (T, bool)) (T, error) {
	var zero T
	v, ok := f.values[key]
	if !ok {
		return zero, fmt.Errorf("gguf: %s: key %q is missing, want %s", f.Path, key, want)
	}
	t, ok := convert(v)
	if !ok {
		return zero, fmt.Errorf("gguf: %s: key %q is %s, want %s", f.Path, key, describe(v), want)
	}
	return t, nil
}

func getOr[T any](f *File, key string, def T, get func(string) (T, error)) (T, error) {
	if !f.Has(key) {
		return def, nil
	}
	return get(key)
}

func as[T any](v any) (T, bool) { t, ok := v.(T); return t, ok }

func toInt(v any) (int, bool) {
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return int(r.Int()), r.Int() == int64(int(r.Int()))
	case r.CanUint():
		return int(r.Uint()), r.Uint() <= math.MaxInt
	}
	return 0, false
}

func toFloat(v any) (float64, bool) {
	switch r := reflect.ValueOf(v); {
	case r.CanFloat():
		return r.Float(), true
	case r.CanInt():
		return float64(r.Int()), true
	case r.CanUint():
		return float64(r.Uint()), true
	}
	return 0, false
}

func toInts(v any) ([]int32, bool) {
	switch v := v.(type) {
	case []int32:
		return v, true
	case []uint8:
		return narrow(v)
	case []int8:
		return narrow(v)
	case []uint16:
		return narrow(v)
	case []int16:
		return narrow(v)
	case []uint32:
		return narrow(v)
	case []uint64:
		return narrow(v)
	case []int64:
		return narrow(v)
	}
	return nil, false
}

func narrow[T uint8 | int8 | uint16 | int16 | uint32 | uint64 | int64](v []T) ([]int32, bool) {
	out := make([]int32, len(v))
	for i, x := range v {
		out[i] = int32(x)
		if T(out[i]) != x || (out[i] < 0) != (x < 0) {
			return nil, false
		}
	}
	return out, true
}

// describe names a value in an error: its Go type, and the value where that is short.
func describe(v any) string {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Slice:
		return fmt.Sprintf("%T of %d", v, r.Len())
	case reflect.String:
		return fmt.Sprintf("%T %.80q", v, v)
	}
	return fmt.Sprintf("%T %v", v, v)
}
