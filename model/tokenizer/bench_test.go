package tokenizer

import (
	"os"
	"strings"
	"testing"

	"mustafar/gguf"
)

// english returns 100 KB of English with some code. The words of it repeat after 6 KB: a cold cache is filled early.
func english(b *testing.B) string {
	corpus, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		b.Fatal(err)
	}
	return strings.Repeat(string(corpus), 100_000/len(corpus)+1)[:100_000]
}

func BenchmarkEncode(b *testing.B) {
	text := english(b)
	for _, path := range []string{spm, smollm2} {
		tok := open(b, path)
		for _, warm := range []bool{true, false} {
			name := tok.Name() + "/cold"
			if warm {
				name = tok.Name() + "/warm"
			}
			b.Run(name, func(b *testing.B) {
				tok.Encode(text, true, true)
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if !warm {
						tok.encoder.(interface{ ClearCache() }).ClearCache()
					}
					tok.Encode(text, true, true)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	text := english(b)
	for _, path := range []string{spm, smollm2} {
		tok := open(b, path)
		b.Run(tok.Name(), func(b *testing.B) {
			ids := tok.Encode(text, false, false)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Decode(ids, false)
			}
		})
	}
}

// BenchmarkNew measures New and the first word, which waits until the merges are read.
func BenchmarkNew(b *testing.B) {
	for _, path := range []string{spm, smollm2} {
		name := open(b, path).Name()
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tok, err := New(f)
				if err != nil {
					b.Fatal(err)
				}
				tok.Encode("first words", true, true)
			}
		})
	}
}
