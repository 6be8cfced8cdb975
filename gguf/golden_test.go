package gguf

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// openPython opens what testdata/make_goldens.py wrote with the gguf Python package.
func openPython(tb testing.TB) *File {
	tb.Helper()
	f, err := Open("testdata/python.gguf")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

func mustTensor(tb testing.TB, f *File, name string) Tensor {
	tb.Helper()
	t, ok := f.Tensor(name)
	if !ok {
		tb.Fatalf("no tensor %q", name)
	}
	return t
}

func floats(tb testing.TB, t Tensor) []float32 {
	tb.Helper()
	out := make([]float32, t.Elems())
	Dequantize(out, t.Type, t.Data)
	return out
}

func TestDequantizeAgainstPython(t *testing.T) {
	f := openPython(t)
	for _, typ := range Types() {
		t.Run(typ.String(), func(t *testing.T) {
			src := mustTensor(t, f, "dequantize."+typ.String())
			if src.Type != typ {
				t.Fatalf("the golden is of type %v", src.Type)
			}
			got, want := floats(t, src), floats(t, mustTensor(t, f, src.Name+".want"))
			if len(got) != len(want) {
				t.Fatalf("%d values, want %d", len(got), len(want))
			}
			for i := range got {
				same := math.Float32bits(got[i]) == math.Float32bits(want[i])
				if nan := got[i] != got[i] && want[i] != want[i]; !same && !nan { // a NaN's sign and payload are the machine's
					t.Fatalf("block %d, value %d: got %x, want %x", i/typ.BlockSize(), i%typ.BlockSize(), got[i], want[i])
				}
			}
		})
	}
}

func TestQuantizeAgainstPython(t *testing.T) {
	f := openPython(t)
	for _, typ := range writable {
		t.Run(typ.String(), func(t *testing.T) {
			want := mustTensor(t, f, "quantize."+typ.String())
			got := Quantize(typ, floats(t, mustTensor(t, f, want.Name+".src")))
			if len(got) != len(want.Data) {
				t.Fatalf("%d bytes, want %d", len(got), len(want.Data))
			}
			for n := typ.BlockBytes(); len(got) > 0; got, want.Data = got[n:], want.Data[n:] {
				if !bytes.Equal(got[:n], want.Data[:n]) {
					t.Fatalf("block %d bytes from the end: got %x, want %x", len(got), got[:n], want.Data[:n])
				}
			}
		})
	}
}

// The same list as in make_goldens.py. The first key is what GGUFWriter adds.
func TestMetadataOfPython(t *testing.T) {
	want := []KV{
		{"general.architecture", "test"},
		{"u8", uint8(255)}, {"i8", int8(-128)}, {"u16", uint16(65535)}, {"i16", int16(-32768)},
		{"u32", uint32(4294967295)}, {"i32", int32(-2147483648)},
		{"u64", uint64(18446744073709551615)}, {"i64", int64(-9223372036854775808)},
		{"f32", float32(0.1)}, {"f64", 0.1}, {"true", true}, {"false", false},
		{"string", "mustafar 🌋"},
		{"strings", []string{"a", "", "🌋"}}, {"ints", []int32{1, -2, 3}}, {"floats", []float32{0.5, -0.25}},
		{"bools", []bool{true, false}}, {"bytes", []uint8{0, 255}},
		{"nested", []any{[]int32{1, 2}, []int32{3}}},
		{"general.alignment", uint32(64)},
	}
	f := openPython(t)
	if diff := cmp.Diff(want, f.Keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if f.Version != 3 || f.Alignment != 64 {
		t.Errorf("version %d, alignment %d, want 3 and 64", f.Version, f.Alignment)
	}
}
