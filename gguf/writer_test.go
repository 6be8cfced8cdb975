package gguf

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writable are the types that Quantize makes.
var writable = []Type{F32, F16, Q4_0, Q4_1, Q8_0, BF16}

// allKinds has a key of every kind, alone and in an array.
var allKinds = []KV{
	{"u8", uint8(8)}, {"i8", int8(-8)}, {"u16", uint16(16)}, {"i16", int16(-16)}, {"u32", uint32(32)}, {"i32", int32(-32)},
	{"u64", uint64(64)}, {"i64", int64(-64)}, {"f32", float32(0.5)}, {"f64", 0.25}, {"bool", true}, {"string", "s"},
	{"u8s", []uint8{8}}, {"i8s", []int8{-8}}, {"u16s", []uint16{16}}, {"i16s", []int16{-16}}, {"u32s", []uint32{32}},
	{"i32s", []int32{-32}}, {"u64s", []uint64{64}}, {"i64s", []int64{-64}}, {"f32s", []float32{0.5}}, {"f64s", []float64{0.25}},
	{"bools", []bool{true, false}}, {"strings", []string{"a", "", "not \xff UTF-8"}},
	{"nested", []any{[]int32{1}, []string{"x"}, []any{[]bool{}}}}, {"none", []string{}}, {"", "an empty key"},
}

func noise(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func tensor(name string, typ Type, shape ...int) Tensor {
	t := Tensor{Name: name, Type: typ, Shape: shape}
	t.Data = Quantize(typ, noise(t.Elems()))
	return t
}

func write(tb testing.TB, kvs []KV, tensors ...Tensor) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := Write(&b, kvs, tensors); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	var tensors []Tensor
	for _, typ := range writable {
		tensors = append(tensors, tensor(typ.String(), typ, 96, 3))
	}
	tensors = append(tensors, tensor("one", F32, 1), tensor("four", F16, 5, 4, 3, 2))
	withAlign := func(n uint32) []KV { return append([]KV{{keyAlign, n}}, allKinds...) }
	for _, kvs := range [][]KV{nil, allKinds, withAlign(1), withAlign(8), withAlign(4096)} {
		b := write(t, kvs, tensors...)
		f, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(kvs, f.Keys()); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(tensors, f.Tensors); diff != "" {
			t.Errorf("tensors (-want +got):\n%s", diff)
		}
		if again := write(t, f.Keys(), f.Tensors...); !bytes.Equal(b, again) {
			t.Error("writing what was read gives other bytes")
		}
	}
}

func TestVersion2(t *testing.T) {
	b := write(t, allKinds, tensor("t", F32, 4))
	b[4] = 2
	f, err := parse(b)
	if err != nil || f.Version != 2 || len(f.Tensors) != 1 {
		t.Fatalf("got %+v, %v", f, err)
	}
}

func TestWriteErrors(t *testing.T) {
	short := tensor("short", F32, 4)
	short.Data = short.Data[:15]
	tests := []struct {
		name    string
		kvs     []KV
		tensors []Tensor
		want    []string
	}{
		{"Go type", []KV{{"k", 1}}, nil, []string{`"k"`, "int "}},
		{"slice's Go type", []KV{{"k", []int{1}}}, nil, []string{`"k"`, "[]int "}},
		{"nil", []KV{{"k", nil}}, nil, []string{`"k"`, "<nil>"}},
		{"value in an array of arrays", []KV{{"k", []any{int32(1)}}}, nil, []string{`"k"`, "int32", "want slices"}},
		{"alignment", []KV{{keyAlign, int32(32)}}, nil, []string{keyAlign, "int32 32", "power of two as uint32"}},
		{"duplicate key", []KV{{"k", true}, {"k", false}}, nil, []string{`"k"`, "twice"}},
		{"long key", []KV{{strings.Repeat("k", 65536), true}}, nil, []string{"65536", "65535"}},
		{"nesting", []KV{{"k", []any{[]any{[]any{[]any{[]any{}}}}}}}, nil, []string{`"k"`, "nested", "4"}},
		{"duplicate tensor", nil, []Tensor{tensor("t", F32, 1), tensor("t", F16, 1)}, []string{`"t"`, "twice"}},
		{"data's length", nil, []Tensor{short}, []string{`"short"`, "15 bytes", "16", "F32", "[4]"}},
		{"no data", nil, []Tensor{{Name: "t", Shape: []int{1000}}}, []string{`"t"`, "0 bytes", "4000"}},
		{"shape", nil, []Tensor{{Name: "t", Shape: []int{-1}}}, []string{`"t"`, "shape"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			err := Write(&b, tt.kvs, tt.tensors)
			wantError(t, err, append(tt.want, "gguf: write: "))
			if b.Len() > 0 {
				t.Errorf("%d bytes were written", b.Len())
			}
		})
	}
}

type failing struct{ after int }

func (w *failing) Write(b []byte) (int, error) {
	if w.after -= len(b); w.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestWriteFails(t *testing.T) {
	tensors := []Tensor{tensor("t", F32, 4)}
	size := len(write(t, nil, tensors...))
	for n := range size {
		wantError(t, Write(&failing{n}, nil, tensors), []string{"gguf: write: disk full"})
	}
}

// wantError checks that err is one line with all the parts.
func wantError(tb testing.TB, err error, parts []string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			tb.Errorf("error %q lacks %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
		tb.Errorf("error is not one short line: %q", err)
	}
}
