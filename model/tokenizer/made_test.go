package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sugarme/tokenizer/pretokenizer"

	"mustafar/gguf"
)

// made is a byte-level vocabulary made for a test: the 256 bytes, then these tokens.
type made struct {
	pre    string
	tokens []string
	types  map[string]tokenType // normal, if it is not here
	merges []string
	keys   map[string]any // further keys, without "tokenizer.ggml."; nil takes a key away
}

// file writes the vocabulary to a file and opens it.
func (m made) file(t *testing.T) *gguf.File {
	t.Helper()
	var tokens []string
	for b := range 256 {
		tokens = append(tokens, pretokenizer.BytesChar[byte(b)])
	}
	tokens = append(tokens, m.tokens...)
	types := make([]int32, len(tokens))
	for i, s := range tokens {
		types[i] = int32(normal)
		if ty, ok := m.types[s]; ok {
			types[i] = int32(ty)
		}
	}
	keys := map[string]any{"model": "gpt2", "tokens": tokens, "token_type": types, "merges": append([]string{}, m.merges...)}
	if m.pre != "" {
		keys["pre"] = m.pre
	}
	for k, v := range m.keys {
		keys[k] = v
		if v == nil {
			delete(keys, k)
		}
	}
	kvs := []gguf.KV{{Key: "general.name", Value: "made"}}
	for k, v := range keys {
		if !strings.Contains(k, ".") {
			k = "tokenizer.ggml." + k
		}
		kvs = slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return kv.Key == k })
		kvs = append(kvs, gguf.KV{Key: k, Value: v})
	}
	path := filepath.Join(t.TempDir(), "made.gguf")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := gguf.Write(out, kvs, nil); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func (m made) new(t *testing.T) *Tokenizer {
	t.Helper()
	tok, err := New(m.file(t))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestNames(t *testing.T) {
	for pre, want := range map[string]string{"tekken": "gpt2 (tekken)", "default": "gpt2 (default)", "": "gpt2 (default, as the file has no tokenizer.ggml.pre)"} {
		if got := (made{pre: pre}).new(t).Name(); got != want {
			t.Errorf("%q: got %q, want %q", pre, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		made made
		want []string // all of them
	}{
		{"no model", made{keys: map[string]any{"model": nil}}, []string{"tokenizer.ggml.model", "missing"}},
		{"model", made{keys: map[string]any{"model": "bert"}}, []string{"tokenizer.ggml.model", `"bert"`, "llama (SentencePiece)", "gpt2"}},
		{"pre", made{pre: "elvish"}, []string{"tokenizer.ggml.pre", `"elvish"`, "llama-bpe", "smollm", "tekken", "deepseek-v3"}},
		{"pre of another type", made{keys: map[string]any{"pre": true}}, []string{"tokenizer.ggml.pre", "bool", "string"}},
		{"no tokens", made{keys: map[string]any{"tokens": nil}}, []string{"tokenizer.ggml.tokens", "missing"}},
		{"no merges", made{keys: map[string]any{"merges": nil}}, []string{"tokenizer.ggml.merges", "missing"}},
		{"types", made{keys: map[string]any{"token_type": []int32{1, 1}}}, []string{"tokenizer.ggml.token_type", "2 entries", "256 tokens"}},
		{"no scores", made{keys: map[string]any{"model": "llama"}}, []string{"tokenizer.ggml.scores", "missing"}},
		{"scores", made{keys: map[string]any{"model": "llama", "scores": []float32{0}}}, []string{"tokenizer.ggml.scores", "1 entries", "256 tokens"}},
		{"BOS without a token", made{keys: map[string]any{"add_bos_token": true}}, []string{"add_bos_token", "bos_token_id"}},
		{"EOS without a token", made{keys: map[string]any{"add_eos_token": true, "eos_token_id": uint32(999)}}, []string{"add_eos_token", "eos_token_id"}},
		{"BOS of another type", made{keys: map[string]any{"bos_token_id": "x"}}, []string{"bos_token_id", "string", "integer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.made.file(t))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range append(tt.want, "made.gguf") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not name %s", err, s)
				}
			}
		})
	}
}

// The rules are llama.cpp's: llama_vocab::impl::load in src/llama-vocab.cpp.
func TestEOG(t *testing.T) {
	id := func(v uint32) any { return v }
	tests := []struct {
		name   string
		tokens []string
		keys   map[string]any
		want   []int32 // 256 is the first of tokens
	}{
		{"none", []string{"x"}, nil, nil},
		{"eos", []string{"x"}, map[string]any{"eos_token_id": id(7)}, []int32{7}},
		{"eot, eom", []string{"x"}, map[string]any{"eos_token_id": id(9), "eot_token_id": id(8), "eom_token_id": id(256)}, []int32{8, 9, 256}},
		{"llama 3", []string{"<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"}, map[string]any{"eos_token_id": id(259)}, []int32{257, 258, 259}},
		{"chatml", []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, map[string]any{"eos_token_id": id(258)}, []int32{256, 258}},
		{"gemma", []string{"<eos>", "<start_of_turn>", "<end_of_turn>"}, nil, []int32{256, 258}},
		{"fill in the middle", []string{"<PAD>", "<fim_pad>", "<reponame>", "<|file_sep|>", "<fim_prefix>"}, nil, []int32{257, 258, 259}},
		{"fill in the middle by key", []string{"<fim_pad>", "pad"}, map[string]any{"fim_pad_token_id": id(257)}, []int32{257}},
		{"outside the vocabulary", []string{"<|eot_id|>"}, map[string]any{"eos_token_id": id(257), "eot_token_id": id(1 << 31)}, []int32{256}},
		{"gpt-oss", []string{"<|end|>", "<|return|>", "<|call|>"}, nil, []int32{257, 258}},
		{"solar", []string{"<|end|>", "<|flush|>", "<|calls|>"}, nil, []int32{257, 258}},
		{"phi 3", []string{"<|end|>", "<|return|>"}, nil, []int32{256, 257}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok := made{tokens: tt.tokens, keys: tt.keys}.new(t)
			if !slices.Equal(tok.EOG(), tt.want) {
				t.Errorf("got %d, want %d", tok.EOG(), tt.want)
			}
		})
	}
}

// Texts that mean something to every model have the type that they should have, whatever the file says: normal, here.
func TestTypes(t *testing.T) {
	tests := []struct {
		tokens []string
		want   []tokenType
	}{
		{[]string{"<|im_start|>", "<|im_end|>", "x"}, []tokenType{normal, control, normal}},
		{[]string{"<|fim_pad|>", "<PAD>"}, []tokenType{control, normal}},
		{[]string{"<|end|>", "<|return|>", "<|call|>", "<|channel|>"}, []tokenType{userDefined, control, control, userDefined}},
	}
	for _, tt := range tests {
		tok := made{tokens: tt.tokens}.new(t)
		if got := tok.types[256:]; !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %d, want %d", tt.tokens, got, tt.want)
		}
		for i, ty := range tt.want {
			if got := tok.IsSpecial(int32(256 + i)); got != (ty == control) {
				t.Errorf("IsSpecial of %q: %v", tt.tokens[i], got)
			}
		}
	}
}

func TestBOSAndEOS(t *testing.T) {
	m := made{tokens: []string{"<s>", "</s>"}, types: map[string]tokenType{"<s>": control, "</s>": control},
		keys: map[string]any{"bos_token_id": uint32(256), "eos_token_id": uint32(257), "add_bos_token": true, "add_eos_token": true}}
	tok := m.new(t)
	tests := []struct {
		text       string
		add, parse bool
		want       []int32
	}{
		{"a", true, false, []int32{256, 'a', 257}},
		{"a", false, true, []int32{'a'}},
		{"", true, true, []int32{256, 257}},
		{"<s>a", true, true, []int32{256, 'a', 257}}, // a template wrote it
		{"<s><s>a", true, true, []int32{256, 256, 'a', 257}},
		{"a<s>", true, true, []int32{256, 'a', 256, 257}},
		{"<s>", true, true, []int32{256, 257}},
		{"<s>", true, false, []int32{256, '<', 's', '>', 257}},
		{"<s>a", false, true, []int32{256, 'a'}},
	}
	for _, tt := range tests {
		if got := tok.Encode(tt.text, tt.add, tt.parse); !slices.Equal(got, tt.want) {
			t.Errorf("Encode(%q, %v, %v): got %d, want %d", tt.text, tt.add, tt.parse, got, tt.want)
		}
	}

	m.keys = map[string]any{"bos_token_id": uint32(256)}
	for pre, want := range map[string]bool{"llama-bpe": true, "tekken": true, "smollm": false, "": false} { // llama.cpp's defaults
		m.pre = pre
		if got := m.new(t).AddBOS(); got != want {
			t.Errorf("%q: AddBOS is %v, want %v", pre, got, want)
		}
	}
	m.pre = "llama-bpe"
	m.keys["add_bos_token"] = false
	if m.new(t).AddBOS() {
		t.Error("add_bos_token is false, AddBOS true")
	}
}

func TestSpecials(t *testing.T) {
	m := made{
		tokens: []string{"<a>", "<a><b>", "<b>", "<b>>", "<u>", "<?>", "\n\n"},
		types:  map[string]tokenType{"<a>": control, "<a><b>": control, "<b>": control, "<b>>": control, "<u>": userDefined, "<?>": unknown, "\n\n": userDefined},
	}
	tests := []struct {
		text  string
		parse bool
		want  []string
	}{
		{"<a>x<b>", true, []string{"<a>", "x", "<b>"}},
		{"<a><b>", true, []string{"<a><b>"}},             // the longest
		{"<a><b>>", true, []string{"<a><b>", ">"}},       // of six bytes, before one of four that stands later
		{"<b>>><a>", true, []string{"<b>>", ">", "<a>"}}, //
		{"<<b><<a>", true, []string{"<", "<b>", "<", "<a>"}},
		{"<u><?><a>", true, []string{"<u>", "<?>", "<a>"}},
		{"<u><?>", false, []string{"<u>", "<", "?", ">"}}, // user-defined tokens always are one
		{"a\n\n\nb", false, []string{"a", "\n\n", "\n", "b"}},
	}
	tok := m.new(t)
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, show(tok, tok.Encode(tt.text, false, tt.parse))); diff != "" {
			t.Errorf("%q, %v: want -, got +\n%s", tt.text, tt.parse, diff)
		}
	}
	ids := tok.Encode("<u>x<a>\n\n<?>", false, true)
	if got := tok.Decode(ids, true); got != "<u>x<a>\n\n<?>" {
		t.Errorf("Decode with special tokens: %q", got)
	}
	if got := tok.Decode(ids, false); got != "<u>x\n\n" {
		t.Errorf("Decode without special tokens: %q", got)
	}

	m.keys = map[string]any{"general.name": "Phi-3 mini"}
	if got, want := show(m.new(t), m.new(t).Encode("<a> \n x <b> y", false, true)), []string{"<a>", "x", " ", "<b>", "y"}; !slices.Equal(got, want) {
		t.Errorf("Phi 3 takes the white space after a special token: got %q, want %q", got, want)
	}
}

func TestMerges(t *testing.T) {
	// The rank of a merge is its place; one that makes no token, or is not one, is left out; the first of two counts.
	m := made{tokens: []string{"ab", "bc", "abc", "aa", "aaa", "Ġa"}, merges: []string{"b c", "a b", "", "x", "a  b", "a a", "a zz", "z z", "aa a", "b c", "a bc", "Ġ a"}}
	tests := []struct {
		text string
		want []string
	}{
		{"ab", []string{"ab"}},
		{"abc", []string{"abc"}},
		{"aabc", []string{"aa", "bc"}},
		{"aaaa", []string{"aa", "aa"}}, // the leftmost first, and "aa a" is of a higher rank than "a a"
		{"aaaaa", []string{"aa", "aaa"}},
		{" a zz", []string{" a", " ", "z", "z"}},
	}
	for _, tt := range tests {
		if got := show(m.new(t), m.new(t).Encode(tt.text, false, false)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}

	// A merge may make a pair of lower rank than its own: as in vocabularies that come from tiktoken, where the rank is
	// that of the token. It goes first, before the same merge further right.
	m = made{tokens: []string{"xxx", "xx"}, merges: []string{"xx x", "x x"}}
	if got, want := show(m.new(t), m.new(t).Encode("xxxx", false, false)), []string{"xxx", "x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	m = made{tokens: []string{"word", "Ġword"}}
	for pre, want := range map[string]int{"llama-bpe": 1, "tekken": 1, "gpt-2": 5} {
		m.pre = pre
		if got := m.new(t).Encode(" word", false, false); len(got) != want {
			t.Errorf("%s: a word that is a token and has no merges becomes %d tokens, want %d", pre, len(got), want)
		}
	}
}

// A SentencePiece vocabulary without byte tokens, and with a token that holds a space after another rune.
func TestSentencePiece(t *testing.T) {
	tokens := []string{"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "b▁", "b▁a", "aa", "▁▁", "x▁y"}
	scores := []float32{0, 0, 0, -20, -20, -20, -2, -3, -4, -1, -2, -5, 0}
	vocab := func(prefix bool, n int) *Tokenizer {
		types := []int32{2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
		return made{keys: map[string]any{"model": "llama", "tokens": tokens[:n], "scores": scores[:n], "token_type": types[:n], "add_space_prefix": prefix}}.new(t)
	}
	tests := []struct {
		prefix bool
		tokens int
		text   string
		want   []string
	}{
		{true, 8, "ab", []string{"<s>", " a", "b"}},
		{false, 8, "ab", []string{"<s>", "ab"}},
		{true, 8, "aab b", []string{"<s>", " a", "ab", " ", "b"}},
		{true, 8, "aé", []string{"<s>", " a", "<unk>", "<unk>"}}, // for each byte
		{false, 11, "aaa", []string{"<s>", "aa", "a"}},           // the leftmost of equals
		{false, 11, "aaaa", []string{"<s>", "aa", "aa"}},
		{false, 11, "ab ab", []string{"<s>", "a", "b a", "b"}}, // "b▁" opens the way to "b▁a", the best
		{true, 12, "  a", []string{"<s>", "  ", " a"}},
		{false, 8, "", []string{"<s>"}},
	}
	for _, tt := range tests {
		tok := vocab(tt.prefix, tt.tokens)
		if got := show(tok, tok.Encode(tt.text, true, false)); !slices.Equal(got, tt.want) {
			t.Errorf("%q with the first %d tokens, prefix %v: got %q, want %q", tt.text, tt.tokens, tt.prefix, got, tt.want)
		}
	}
}
