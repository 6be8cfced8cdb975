package gguf

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// raw builds files that Write refuses to.
type raw []byte

func (b raw) u32(v uint32) raw { return le.AppendUint32(b, v) }
func (b raw) u64(v ...uint64) raw {
	for _, x := range v {
		b = le.AppendUint64(b, x)
	}
	return b
}
func (b raw) str(s string) raw { return appendString(b, s) }
func (b raw) bytes(n int) raw  { return append(b, make([]byte, n)...) }
func (b raw) pad() raw         { return b.bytes(int(pad(uint64(len(b)), 32)) - len(b)) }

func (b raw) key(name string, kind uint32) raw { return b.str(name).u32(kind) }
func (b raw) array(name string, kind uint32, n uint64) raw {
	return b.key(name, kindArray).u32(kind).u64(n)
}
func (b raw) tensor(name string, typ Type, offset uint64, dims ...uint64) raw {
	return b.str(name).u32(uint32(len(dims))).u64(dims...).u32(uint32(typ)).u64(offset)
}

func head(tensors, kvs uint64) raw { return raw(magic).u32(3).u64(tensors, kvs) }

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		file []byte
		want []string
	}{
		{"empty", nil, []string{"empty", "GGUF"}},
		{"magic", []byte("PK\x03\x04 and more"), []string{`"PK\x03\x04"`, `"GGUF"`}},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\n"), []string{"Git LFS", "git lfs pull"}},
		{"part of the magic", []byte("GG"), []string{"magic", "2 are left", "cut short"}},
		{"part of the header", head(0, 0)[:20], []string{"key count", "byte 16", "4 are left", "cut short"}},
		{"version 1", raw(magic).u32(1).bytes(16), []string{"version 1", "2 or 3"}},
		{"version 0", raw(magic).u32(0).bytes(16), []string{"version 0", "2 or 3"}},
		{"version 4", raw(magic).u32(4).bytes(16), []string{"version 4", "2 or 3"}},
		{"big-endian", raw(magic).u32(3 << 24).bytes(16), []string{"big-endian", "little-endian"}},
		{"key count", head(0, 1<<60).bytes(76), []string{"1152921504606846976 keys", "76 bytes"}},
		{"tensor count", head(1<<60, 0).bytes(76), []string{"1152921504606846976 tensors", "76 bytes"}},

		{"key's length", head(0, 1).u64(1 << 60).bytes(8), []string{"key 1 of 1", "1152921504606846976 bytes", "65535"}},
		{"key cut", head(0, 1).u64(60).bytes(8), []string{"key 1 of 1", "byte 32", "60 bytes", "8 are left"}},
		{"kind", head(0, 1).key("k", 13).bytes(8), []string{`"k"`, "kind 13", "0 to 12"}},
		{"bool", append(head(0, 1).key("k", kindBool), 2), []string{`"k"`, "bool is 2", "0 or 1"}},
		{"bool in an array", append(head(0, 1).array("k", kindBool, 2), 0, 255), []string{`"k"`, "bool is 255", "0 or 1"}},
		{"duplicate key", head(0, 2).key("k", 4).u32(1).key("k", 8).str(""), []string{"key 2 of 2", `"k"`, "twice"}},
		{"string's length", head(0, 1).key("k", kindString).u64(1 << 60).bytes(8), []string{`"k"`, "1152921504606846976 bytes", "8 are left"}},
		{"string's length wraps", head(0, 1).key("k", kindString).u64(1<<64 - 1).bytes(8), []string{`"k"`, "cut short"}},
		{"array's kind", head(0, 1).array("k", 13, 1).bytes(8), []string{`"k"`, "kind 13", "0 to 12"}},
		{"array's count", head(0, 1).array("k", 0, 1<<60).bytes(8), []string{`"k"`, "1152921504606846976 values", "8 bytes left"}},
		{"array's bytes wrap", head(0, 1).array("k", 12, 1<<61+1).bytes(8), []string{`"k"`, "8 bytes left"}},
		{"array of strings", head(0, 1).array("k", kindString, 3).str("ok").u64(9), []string{`"k"`, "3 values", "18 bytes left"}},
		{"string in an array", head(0, 1).array("k", kindString, 2).str("ok").u64(9).bytes(8), []string{`"k"`, "byte 67", "9 bytes", "8 are left"}},
		{"nesting", nested(5), []string{`"k"`, "nested", "4"}},
		{"alignment's kind", head(0, 1).key(keyAlign, 10).u64(32), []string{keyAlign, "uint64 32", "uint32"}},
		{"alignment 0", head(0, 1).key(keyAlign, 4).u32(0), []string{keyAlign, "uint32 0", "power of two"}},
		{"alignment 48", head(0, 1).key(keyAlign, 4).u32(48), []string{keyAlign, "uint32 48", "power of two"}},
		{"alignment beyond the file", head(1, 1).key(keyAlign, 4).u32(1<<31).tensor("t", F32, 0, 1).bytes(64),
			[]string{`"t"`, "starts at byte 2147483648", "cut short"}},

		{"no dimensions", head(1, 0).tensor("t", F32, 0).bytes(32), []string{`"t"`, "0 dimensions", "1 to 4"}},
		{"five dimensions", head(1, 0).tensor("t", F32, 0, 1, 1, 1, 1, 1), []string{`"t"`, "5 dimensions", "1 to 4"}},
		{"unknown type", head(1, 0).tensor("t", 99, 0, 32).bytes(64), []string{`"t"`, "type 99", "have F32 F16 Q4_0", "IQ4_XS BF16)"}},
		{"a type in a gap", head(1, 0).tensor("t", 9, 0, 32).bytes(64), []string{`"t"`, "type 9 is", "have F32"}},
		{"a type past 31 bits", head(1, 0).tensor("t", 1<<31, 0, 32).bytes(64), []string{`"t"`, "type 2147483648", "have F32"}},
		{"row of half a block", head(1, 0).tensor("t", Q4_K, 0, 128).bytes(64), []string{`"t"`, "128", "Q4_K", "256"}},
		{"dimension 0", head(1, 0).tensor("t", F32, 0, 4, 0).bytes(64), []string{`"t"`, "[4 0]", "at least 1"}},
		{"dimension 1<<60", head(1, 0).tensor("t", F32, 0, 1<<60).bytes(64), []string{`"t"`, "[1152921504606846976]", "F32", "cut short"}},
		{"product wraps", head(1, 0).tensor("t", F32, 0, 1<<32, 1<<32).bytes(64), []string{`"t"`, "4294967296 4294967296", "cut short"}},
		{"product wraps to 4", head(1, 0).tensor("t", F32, 0, 1<<63+1, 4).bytes(64), []string{`"t"`, "cut short"}},
		{"tensor's name", head(1, 0).str(strings.Repeat("n", 65536)).bytes(64), []string{"tensor 1 of 1", "65536 bytes", "65535"}},
		{"duplicate tensor", head(2, 0).tensor("t", F32, 0, 8).tensor("t", F32, 32, 8).pad().bytes(64), []string{`"t"`, "twice"}},
		{"unaligned", head(1, 0).tensor("t", F32, 4, 4).pad().bytes(64), []string{`"t"`, "offset 4", "multiple", "32"}},
		{"past the end", head(1, 0).tensor("t", F32, 64, 1).pad().bytes(64), []string{`"t"`, "4 bytes at offset 64", "cut short"}},
		{"offset wraps", head(1, 0).tensor("t", F32, 1<<64-32, 8).pad().bytes(64), []string{`"t"`, "18446744073709551584", "cut short"}},
		{"data cut", head(1, 0).tensor("t", F32, 0, 8).pad().bytes(31), []string{`"t"`, "32 bytes at offset 0", "cut short"}},
		{"overlap", head(2, 0).tensor("b", F32, 32, 1).tensor("a", F32, 0, 9).pad().bytes(64), []string{`"a" and "b" overlap`, "36", "32"}},
		{"same place", head(2, 0).tensor("a", F32, 0, 1).tensor("b", F32, 0, 1).pad().bytes(64), []string{"overlap"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.gguf")
			if err := os.WriteFile(path, tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			wantError(t, err, append(tt.want, "gguf: "+path+": "))
		})
	}
}

// nested is a key "k" of an array in an array, depth in all.
func nested(depth int) raw {
	b := head(0, 1).key("k", kindArray)
	for range depth - 1 {
		b = b.u32(kindArray).u64(1)
	}
	return b.u32(0).u64(0)
}

func TestNestingAllowed(t *testing.T) {
	if _, err := parse(nested(maxDepth)); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "none.gguf"))
	wantError(t, err, []string{"gguf: ", "none.gguf"})
	_, err = Open(dir)
	wantError(t, err, []string{"gguf: ", dir, "not a regular file"})
}

// Tensors may lie in any order, with gaps, and without padding after the last one.
func TestPlacesAllowed(t *testing.T) {
	b := head(2, 0).tensor("b", F32, 96, 1).tensor("a", F32, 0, 8).pad()
	data := len(b)
	b = b.bytes(96).u32(0x3f800000)
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Tensors[0].Data; &got[0] != &b[data+96] || len(got) != 4 || cap(got) != 4 {
		t.Errorf("b is not a view of its 4 bytes: len %d, cap %d", len(got), cap(got))
	}
}

// A file cut anywhere is an error, but for the padding after the last tensor.
func TestTruncated(t *testing.T) {
	b := write(t, allKinds, tensor("a", Q8_0, 64, 2), tensor("b", F32, 3))
	end := len(b) - (32 - 12)
	for n := range b {
		_, err := parse(b[:n:n])
		switch {
		case n >= end && err != nil:
			t.Fatalf("cut to %d of %d bytes, in the padding: %v", n, len(b), err)
		case n < end && err == nil:
			t.Fatalf("cut to %d of %d bytes, before the end of the data: no error", n, len(b))
		case n < end:
			wantError(t, err, nil)
		}
	}
}

// A small file never takes much memory, whatever it claims.
func TestMemory(t *testing.T) {
	files := map[string]raw{
		"keys":      head(0, 1<<60),
		"tensors":   head(1<<60, 0),
		"key":       head(0, 1).u64(1 << 60),
		"string":    head(0, 1).key("k", kindString).u64(1 << 60),
		"array":     head(0, 1).array("k", 0, 1<<60),
		"strings":   head(0, 1).array("k", kindString, 1<<60),
		"arrays":    head(0, 1).array("k", kindArray, 1<<60),
		"shape":     head(1, 0).tensor("t", F32, 0, 1<<60),
		"alignment": head(1, 1).key(keyAlign, 4).u32(1<<31).tensor("t", F32, 0, 1),
	}
	for name, b := range files {
		t.Run(name, func(t *testing.T) {
			b = b.bytes(max(0, 100-len(b)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parse(b)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("no error")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("%d bytes were allocated for a file of %d", n, len(b))
			}
		})
	}
}
