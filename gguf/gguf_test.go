package gguf

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
)

func TestTypes(t *testing.T) {
	// Block sizes and bytes: type_traits in ggml.c.
	tests := []struct {
		typ          Type
		name         string
		block, bytes int
	}{
		{0, "F32", 1, 4}, {1, "F16", 1, 2}, {2, "Q4_0", 32, 18}, {3, "Q4_1", 32, 20}, {6, "Q5_0", 32, 22}, {7, "Q5_1", 32, 24},
		{8, "Q8_0", 32, 34}, {10, "Q2_K", 256, 84}, {11, "Q3_K", 256, 110}, {12, "Q4_K", 256, 144}, {13, "Q5_K", 256, 176},
		{14, "Q6_K", 256, 210}, {20, "IQ4_NL", 32, 18}, {23, "IQ4_XS", 256, 136}, {30, "BF16", 1, 2},
	}
	var all []Type
	for _, tt := range tests {
		all = append(all, tt.typ)
		if tt.typ.String() != tt.name || tt.typ.BlockSize() != tt.block || tt.typ.BlockBytes() != tt.bytes {
			t.Errorf("type %d is %v, %d values in %d bytes, want %+v", uint32(tt.typ), tt.typ, tt.typ.BlockSize(), tt.typ.BlockBytes(), tt)
		}
		if got := tt.typ.RowBytes(3 * tt.block); got != 3*tt.bytes {
			t.Errorf("%v: 3 blocks have %d bytes, want %d", tt.typ, got, 3*tt.bytes)
		}
	}
	if !slices.Equal(Types(), all) {
		t.Errorf("Types() = %v, want %v", Types(), all)
	}
	if got := Type(99).String(); got != "type 99" {
		t.Errorf("got %q, want type 99", got)
	}
}

func TestPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"row of half a block": func() { Q4_0.RowBytes(16) },
		"negative row":        func() { Q4_0.RowBytes(-32) },
		"unknown type":        func() { Type(99).BlockSize() },
		"short source":        func() { Dequantize(make([]float32, 32), Q4_0, make([]byte, 17)) },
		"half a block":        func() { Dequantize(make([]float32, 16), Q4_0, make([]byte, 9)) },
		"quantize to Q4_K":    func() { Quantize(Q4_K, make([]float32, 256)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// The Python package and ggml make every NaN quiet.
func TestBF16NaN(t *testing.T) {
	for bits, want := range map[uint32]uint16{0x7f800001: 0x7fc0, 0xffffffff: 0xffff, 0x7fc00000: 0x7fc0, 0x7f800000: 0x7f80} {
		if got := le.Uint16(Quantize(BF16, []float32{math.Float32frombits(bits)})); got != want {
			t.Errorf("%#x: got %#x, want %#x", bits, got, want)
		}
	}
}

func TestTensor(t *testing.T) {
	got := Tensor{Type: Q4_0, Shape: []int{64, 3, 2}}
	if got.Cols() != 64 || got.Rows() != 6 || got.Elems() != 384 || got.Bytes() != 6*36 {
		t.Errorf("%d columns, %d rows, %d values, %d bytes, want 64, 6, 384, 216", got.Cols(), got.Rows(), got.Elems(), got.Bytes())
	}
}

// What was discarded reads the same again, and memory that is not the file's is left alone.
func TestDiscard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	want := tensor("t", F32, 1<<15)
	writeFile(t, path, write(t, nil, want))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := mustTensor(t, f, "t")
	own := slices.Clone(want.Data)
	for _, view := range [][]byte{nil, own, got.Data[:0], got.Data[:100], got.Data[5:20000], got.Data} {
		f.Discard(view)
		if !slices.Equal(got.Data, want.Data) || !slices.Equal(own, want.Data) {
			t.Fatalf("data changed after discarding %d bytes", len(view))
		}
	}
}

// vocabulary is the metadata of a file without tensors, in the shape of Llama 3's (byte-level BPE).
func vocabulary(tokens, merges int) []KV {
	words := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("Ġtoken%d", i)
		}
		return all
	}
	return []KV{
		{"general.architecture", "llama"}, {"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.tokens", words(tokens)}, {"tokenizer.ggml.token_type", make([]int32, tokens)},
		{"tokenizer.ggml.scores", make([]float32, tokens)}, {"tokenizer.ggml.merges", words(merges)},
	}
}

func TestVocabularyOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	writeFile(t, path, write(t, vocabulary(100, 200)))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	tokens, err := f.Strings("tokenizer.ggml.tokens") // metadata outlives the mapping
	if err != nil || len(f.Tensors) != 0 || len(tokens) != 100 || tokens[99] != "Ġtoken99" {
		t.Errorf("%d tensors, %d tokens, %v", len(f.Tensors), len(tokens), err)
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "vocab.gguf")
	file := write(b, vocabulary(128256, 280147)) // Llama 3's numbers
	writeFile(b, path, file)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkDequantize(b *testing.B) {
	const n = 1 << 16
	f := openPython(b)
	for _, typ := range Types() {
		b.Run(typ.String(), func(b *testing.B) {
			src := make([]byte, typ.RowBytes(n))
			for at := 0; at < len(src); {
				at += copy(src[at:], mustTensor(b, f, "dequantize."+typ.String()).Data)
			}
			dst := make([]float32, n)
			b.SetBytes(int64(len(src))) // what is read
			for b.Loop() {
				Dequantize(dst, typ, src)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mvalues/s")
		})
	}
}
