package gguf

import (
	"bytes"
	"os"
	"testing"
)

// FuzzOpen: whatever the bytes, parse gives an error of one line or a file whose tensors can be read and that, written
// and read again, is the same. Run it with -fuzzminimizetime 10x: the default spends most of a short run on shrinking
// what it found.
func FuzzOpen(f *testing.F) {
	var tensors []Tensor
	for _, typ := range writable {
		tensors = append(tensors, tensor(typ.String(), typ, 32, 2))
	}
	f.Add(write(f, nil))
	f.Add(write(f, allKinds, tensors...))
	f.Add(write(f, append([]KV{{keyAlign, uint32(8)}}, splitKeys(0, 1, 2)...), tensors[:2]...))
	f.Add(write(f, vocabulary(4, 4)))
	version2 := write(f, allKinds[:3], tensors[2])
	version2[4] = 2
	f.Add(version2)
	python, err := os.ReadFile("testdata/python.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(python[:4096]) // every kind, array and type, without data

	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			wantError(t, err, nil)
			return
		}
		for _, x := range file.Tensors {
			if len(x.Data) != x.Bytes() {
				t.Fatalf("tensor %q has %d bytes, want %d", x.Name, len(x.Data), x.Bytes())
			}
			Dequantize(make([]float32, x.Elems()), x.Type, x.Data)
		}
		for _, kv := range file.Keys() {
			file.Int(kv.Key)
			file.Float(kv.Key)
			file.Ints(kv.Key)
		}
		once := write(t, file.Keys(), file.Tensors...)
		again, err := parse(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(once, write(t, again.Keys(), again.Tensors...)) {
			t.Fatal("written twice, the file differs")
		}
	})
}
