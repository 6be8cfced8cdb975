package gguf

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// part is one part's keys and tensors.
type part struct {
	kvs     []KV
	tensors []Tensor
}

func splitKeys(no, count uint16, total int32) []KV {
	return []KV{{keyPart, no}, {keyParts, count}, {keyTensors, total}}
}

// threeParts is a model as gguf-split --no-tensor-first-split leaves it: the first part has the metadata alone.
func threeParts() []part {
	return []part{
		{append([]KV{{"general.architecture", "llama"}}, splitKeys(0, 3, 3)...), nil},
		{splitKeys(1, 3, 3), []Tensor{tensor("a", F32, 8), tensor("b", Q8_0, 32, 4)}},
		{append(splitKeys(2, 3, 3), KV{keyAlign, uint32(8)}), []Tensor{tensor("c", Q4_0, 64)}},
	}
}

// writeParts writes the parts that are not nil under gguf-split's names and returns the first name.
func writeParts(tb testing.TB, parts []part) string {
	tb.Helper()
	prefix := filepath.Join(tb.TempDir(), "model")
	for i, p := range parts {
		if p.kvs != nil {
			writeFile(tb, partPath(prefix, i+1, len(parts)), write(tb, p.kvs, p.tensors...))
		}
	}
	return partPath(prefix, 1, len(parts))
}

func writeFile(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestSplit(t *testing.T) {
	parts := threeParts()
	path := writeParts(t, parts)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if arch, err := f.String("general.architecture"); arch != "llama" || err != nil {
		t.Errorf("architecture %q, %v", arch, err)
	}
	size := int64(0)
	for _, p := range parts {
		size += int64(len(write(t, p.kvs, p.tensors...)))
		for _, want := range p.tensors {
			got, ok := f.Tensor(want.Name)
			if !ok || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("tensor %q: found %v, data equal %v", want.Name, ok, bytes.Equal(got.Data, want.Data))
			}
		}
	}
	if got, ok := f.Tensor("absent"); ok || got.Name != "" {
		t.Errorf("an absent tensor is %+v", got)
	}
	if f.Size() != size || len(f.Tensors) != 3 || f.Path != path {
		t.Errorf("size %d, %d tensors, path %s, want %d, 3, %s", f.Size(), len(f.Tensors), f.Path, size, path)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if f.Tensors[0].Data != nil {
		t.Error("a view is left after Close")
	}
}

func TestSplitErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(parts []part)
		want   []string
	}{
		{"a part is missing", func(p []part) { p[1].kvs = nil }, []string{"model-00002-of-00003.gguf", "part 2 of 3"}},
		{"a part is another", func(p []part) { p[2] = p[1] }, []string{"model-00003-of-00003.gguf is part 2 of 3", "want part 3 of 3"}},
		{"another count", func(p []part) { p[2].kvs = splitKeys(2, 4, 3) }, []string{"00003.gguf is part 3 of 4", "want part 3 of 3"}},
		{"a part is whole", func(p []part) { p[2].kvs = []KV{{"k", true}} }, []string{"model-00003-of-00003.gguf", `"split.no" is missing`}},
		{"no count in a part", func(p []part) { p[2].kvs = splitKeys(2, 3, 3)[:1] }, []string{"model-00003-of-00003.gguf", `"split.count" is missing`}},
		{"tensor twice", func(p []part) { p[2].tensors = p[1].tensors[:1] }, []string{"model-00003-of-00003.gguf", `"a"`, "twice"}},
		{"tensor missing", func(p []part) { p[2].tensors = nil }, []string{"model-00001-of-00003.gguf", "2 tensors, want 3", keyTensors}},
		{"no number", func(p []part) { p[0].kvs = []KV{{keyParts, uint16(3)}} }, []string{"model-00001-of-00003.gguf", `"split.no" is missing`}},
		{"no total", func(p []part) { p[0].kvs = splitKeys(0, 3, 3)[:2] }, []string{"model-00001-of-00003.gguf", `"split.tensors.count" is missing`}},
		{"count's type", func(p []part) { p[0].kvs = []KV{{keyParts, "3"}} }, []string{`"split.count" is string "3"`}},
		{"count differs from the name", func(p []part) { p[0].kvs = splitKeys(0, 2, 3) }, []string{"first of 2 parts", "*-00001-of-00002.gguf"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parts := threeParts()
			tt.change(parts)
			_, err := Open(writeParts(t, parts))
			wantError(t, err, append(tt.want, "gguf: "))
		})
	}
}

func TestSplitNames(t *testing.T) {
	first := writeParts(t, threeParts())
	prefix, _, _ := parsePart(first)
	_, err := Open(partPath(prefix, 3, 3))
	wantError(t, err, []string{"is part 3 of 3", "open the first part, " + first})

	renamed := filepath.Join(filepath.Dir(first), "renamed.gguf")
	writeFile(t, renamed, write(t, splitKeys(0, 3, 3)))
	_, err = Open(renamed)
	wantError(t, err, []string{renamed, "first of 3 parts", "*-00001-of-00003.gguf"})
	writeFile(t, renamed, write(t, splitKeys(2, 3, 3)))
	_, err = Open(renamed)
	wantError(t, err, []string{renamed, "part 3 of 3", "*-00001-of-00003.gguf"})

	// One part is a whole file, whatever its name; gguf-split --merge leaves a count of 0.
	for _, count := range []uint16{0, 1} {
		writeFile(t, renamed, write(t, splitKeys(0, count, 0)))
		f, err := Open(renamed)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
