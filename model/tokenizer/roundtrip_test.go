package tokenizer

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// comesBack returns what Decode of Encode gives for a text: the text, but for U+2581 in a SentencePiece vocabulary and for
// bytes that a byte-level vocabulary has no token for. The demo model's has none for 15 bytes that no UTF-8 holds, and
// for six control characters.
func comesBack(tok *Tokenizer, text string) string {
	m, ok := tok.encoder.(*byteLevel)
	if !ok {
		return strings.ReplaceAll(text, metaspace, " ")
	}
	b := []byte(text)
	return string(slices.DeleteFunc(b, func(c byte) bool { return m.bytes[c] < 0 }))
}

// checkRoundTrip encodes a text in all four ways, and decodes it whole and token by token.
func checkRoundTrip(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	want := comesBack(tok, text)
	for _, parse := range []bool{false, true} {
		ids := tok.Encode(text, false, parse)
		if got := tok.Decode(ids, true); got != want {
			t.Fatalf("%s: %.200q, parse %v: Decode gives %.200q, want %.200q", tok.Name(), text, parse, got, want)
		}
		want := ids
		if tok.AddBOS() && !(parse && len(ids) > 0 && ids[0] == tok.BOS()) {
			want = slices.Concat([]int32{tok.BOS()}, ids)
		}
		if got := tok.Encode(text, true, parse); !slices.Equal(got, want) {
			t.Fatalf("%s: %.200q, parse %v: with addSpecial %d, without %d", tok.Name(), text, parse, got, ids)
		}
	}
	var got, pieces strings.Builder
	s, runes := tok.NewStream(), 0
	add := func(part string) {
		got.WriteString(part)
		runes += utf8.RuneCountInString(part)
	}
	for _, id := range tok.Encode(text, false, false) {
		add(s.Add(id))
		pieces.Write(tok.Piece(id))
	}
	add(s.Flush())
	if got.String() != pieces.String() {
		t.Fatalf("%s: %.200q: the stream gives %.200q, the pieces are %.200q", tok.Name(), text, got.String(), pieces.String())
	}
	if runes != utf8.RuneCountInString(got.String()) { // the parts of a rune count one each
		t.Fatalf("%s: %.200q: the stream cuts a rune", tok.Name(), text)
	}
}

// randomText mixes what texts are made of with what they should not be made of.
func randomText(r *rand.Rand, words []string) string {
	var b strings.Builder
	for range r.IntN(12) {
		switch r.IntN(6) {
		case 0:
			b.WriteByte(byte(r.IntN(256)))
		case 1:
			b.WriteRune(rune(r.IntN(0x3000)))
		case 2:
			b.WriteRune(rune(r.IntN(utf8.MaxRune + 1)))
		case 3:
			b.WriteString(strings.Repeat(" \n\t\r\x00"[r.IntN(5):][:1], r.IntN(9)))
		default:
			w := words[r.IntN(len(words))]
			if r.IntN(8) == 0 {
				w = w[r.IntN(len(w)+1):] // may begin inside a rune
			}
			b.WriteString(w)
		}
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) {
	texts := readJSON[[]string](t, "texts.json")
	for _, path := range []string{spm, smollm2} {
		tok := open(t, path)
		for _, text := range texts {
			checkRoundTrip(t, tok, text)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 3000 {
			checkRoundTrip(t, tok, randomText(r, texts))
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"", " a  b", "I'll\n\n", "é世😀", "\xff\xc0 \xe2\x96", "\x00", "<s>[INST] x</s>", "<|im_start|>user", "▁", "        x"} {
		f.Add(s)
	}
	toks := []*Tokenizer{open(f, spm), open(f, smollm2)}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			checkRoundTrip(t, tok, text)
		}
		for name, p := range pres {
			left := text
			eachWord(text, p.stages, func(word string) {
				if word == "" || !strings.HasPrefix(left, word) {
					t.Fatalf("%s: %q: word %q where %q is left", name, text, word, left)
				}
				left = left[len(word):]
			})
			if left != "" {
				t.Fatalf("%s: %q: %q is left", name, text, left)
			}
		}
	})
}

// A megabyte that is one word, or none, takes a moment and not an hour. A quadratic step would take minutes.
func TestLongWord(t *testing.T) {
	const size = 1 << 20
	r := rand.New(rand.NewPCG(1, 2))
	letters := make([]byte, size)
	for i := range letters {
		letters[i] = byte('a' + r.IntN(26))
	}
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(r.IntN(256))
	}
	corpus, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	unbroken := strings.Join(strings.Fields(string(corpus)), "")
	tests := map[string]string{
		"a": strings.Repeat("a", size), "letters": string(letters), "bytes": string(noise), "words": strings.Repeat(unbroken, size/len(unbroken)),
		"spaces": strings.Repeat(" ", size), "newlines": strings.Repeat("\n", size), "digits": strings.Repeat("7", size), "NUL": strings.Repeat("\x00", size),
		"emoji": strings.Repeat("😀", size/4), "han": strings.Repeat("世界你好", size/12), "capitals": strings.Repeat("ÉAB", size/4), "special": strings.Repeat("<|im_start|", size/11),
		"0xff": strings.Repeat("\xff", size), "spaces and newlines": strings.Repeat(" \n", size/2), "quotes": strings.Repeat("'", size),
	}
	for _, path := range []string{spm, smollm2} {
		tok := open(t, path)
		for name, text := range tests {
			t.Run(tok.Name()+"/"+name, func(t *testing.T) {
				begin := time.Now()
				ids := tok.Encode(text, true, true)
				if took := time.Since(begin); took > 30*time.Second {
					t.Errorf("%v", took)
				}
				if got, want := tok.Decode(ids, false), comesBack(tok, text); got != want {
					t.Errorf("the text does not come back: %d bytes, want %d", len(got), len(want))
				}
			})
		}
	}
}

func TestConcurrent(t *testing.T) {
	texts := readJSON[[]string](t, "texts.json")
	for _, path := range []string{spm, smollm2} {
		tok, alone := open(t, path), open(t, path)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range texts {
					text := texts[(i*7+g)%len(texts)]
					if got, want := tok.Encode(text, true, true), alone.Encode(text, true, true); !slices.Equal(got, want) {
						t.Errorf("%q: got %d, want %d", text, got, want)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestStream(t *testing.T) {
	tokens := []string{"<s>", "<u>"}
	tok := made{tokens: tokens, types: map[string]tokenType{"<s>": control, "<u>": userDefined}}.new(t)
	id := map[string]int32{"<s>": 256, "<u>": 257}
	for b := range 256 {
		id[string([]byte{byte(b)})] = tok.encoder.(*byteLevel).bytes[b]
	}
	tests := []struct{ tokens, want []string }{
		{[]string{"h", "i"}, []string{"h", "i", ""}},
		{[]string{"\xe4", "\xb8", "\x96", "!"}, []string{"", "", "世", "!", ""}},
		{[]string{"\xf0", "\x9f", "\x98", "\x80"}, []string{"", "", "", "😀", ""}},
		{[]string{"\xe4", "\xb8", "x"}, []string{"", "", "\xe4\xb8x", ""}}, // can no longer become a rune
		{[]string{"\xe4", "\xe4", "\xb8", "\x96"}, []string{"", "\xe4", "", "世", ""}},
		{[]string{"\xff", "\x80", "\xc0", "a"}, []string{"\xff", "\x80", "\xc0", "a", ""}}, // never could
		{[]string{"\xed", "\xa0", "\x80"}, []string{"", "\xed\xa0", "\x80", ""}},           // a surrogate is no rune
		{[]string{"\xf0", "\x9f"}, []string{"", "", "\xf0\x9f"}},                           // Flush
		{[]string{"\xc3", "<s>", "\xa9", "<u>"}, []string{"", "", "é", "<u>", ""}},
	}
	for _, tt := range tests {
		s := tok.NewStream()
		var got []string
		for _, token := range tt.tokens {
			got = append(got, s.Add(id[token]))
		}
		got = append(got, s.Flush())
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.tokens, got, tt.want)
		}
	}
	s := tok.NewStream()
	if got := s.Add(-1) + s.Add(1<<30) + s.Flush(); got != "" {
		t.Errorf("tokens outside the vocabulary: %q", got)
	}
}
