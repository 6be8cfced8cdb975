package tokenizer

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mustafar/gguf"
)

const (
	spm     = "testdata/spm.gguf"
	smollm2 = "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"
)

// open reads the vocabulary of a file.
func open(t testing.TB, path string) *Tokenizer {
	t.Helper()
	if _, err := os.Stat(path); path == smollm2 && err != nil {
		t.Fatalf("the demo model %s is missing: run make model", filepath.Base(path))
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func readJSON[T any](t *testing.T, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("testdata/%s: %v", name, err)
	}
	return v
}

// golden is what llama.cpp makes of testdata/texts.json; testdata/goldens.py wrote it.
type golden struct {
	BOS, EOS     int32
	First, Last  []int32 // what add_special puts before and after
	EOG, Control []int32
	Pieces       string          `json:"pieces_sha256"` // of length, ":", bytes of every token
	Plain        [][]int32       // parse_special false
	Parsed       map[int][]int32 // parse_special true, where it is not the same
	Decoded      map[int]string  // of Plain, control tokens left out, where it is not the text
}

func TestLlamaCpp(t *testing.T) {
	texts := readJSON[[]string](t, "texts.json")
	for _, v := range []struct{ path, golden, name string }{
		{spm, "spm.json", "llama (SentencePiece)"},
		{smollm2, "smollm2.json", "gpt2 (smollm)"},
	} {
		t.Run(v.golden, func(t *testing.T) {
			tok, want := open(t, v.path), readJSON[golden](t, v.golden)
			if tok.Name() != v.name {
				t.Errorf("Name: got %q, want %q", tok.Name(), v.name)
			}
			if tok.BOS() != want.BOS || tok.EOS() != want.EOS || tok.AddBOS() != (len(want.First) > 0) {
				t.Errorf("BOS %d, EOS %d, AddBOS %v, want %d, %d, %v", tok.BOS(), tok.EOS(), tok.AddBOS(), want.BOS, want.EOS, len(want.First) > 0)
			}
			for i, text := range texts {
				parsed, ok := want.Parsed[i]
				if !ok {
					parsed = want.Plain[i]
				}
				added := slices.Concat(want.First, parsed, want.Last)
				if len(want.First) > 0 && len(parsed) > 0 && parsed[0] == want.BOS {
					added = slices.Concat(parsed, want.Last) // llama.cpp warns of two BOS, and lets them be
				}
				for _, c := range []struct {
					add, parse bool
					want       []int32
				}{
					{false, false, want.Plain[i]},
					{false, true, parsed},
					{true, false, slices.Concat(want.First, want.Plain[i], want.Last)},
					{true, true, added},
				} {
					if got := tok.Encode(text, c.add, c.parse); !slices.Equal(got, c.want) {
						t.Errorf("Encode(%q, %v, %v):\n got %d %q\nwant %d %q", text, c.add, c.parse, got, show(tok, got), c.want, show(tok, c.want))
					}
				}
			}

			for i, text := range texts {
				ids := tok.Encode(text, false, false)
				got := tok.Decode(ids, false)
				if want := comesBack(tok, text); got != want {
					t.Errorf("Decode of Encode(%q): got %q, want %q", text, got, want)
				}
				theirs, ok := want.Decoded[i]
				if !ok {
					theirs = text
				}
				user := slices.ContainsFunc(ids, func(id int32) bool { return tok.has(id, userDefined) }) // then Decode is exact, llama.cpp is not
				if got != theirs && !user {
					t.Errorf("Decode of Encode(%q): got %q, llama.cpp %q", text, got, theirs)
				}
			}

			pieces := sha256.New()
			var eog, controls []int32
			for id := range int32(tok.Vocab()) {
				fmt.Fprintf(pieces, "%d:%s", len(tok.Piece(id)), tok.Piece(id))
				if tok.IsEOG(id) {
					eog = append(eog, id)
				}
				if tok.has(id, control) {
					controls = append(controls, id)
				}
			}
			if got := fmt.Sprintf("%x", pieces.Sum(nil)); got != want.Pieces {
				t.Errorf("the pieces' hash is %s, want %s", got, want.Pieces)
			}
			if diff := cmp.Diff([][]int32{want.EOG, want.EOG, want.Control}, [][]int32{eog, tok.EOG(), controls}); diff != "" {
				t.Errorf("end of generation (IsEOG, EOG), control tokens: want -, got +\n%s", diff)
			}
		})
	}
}

func show(tok *Tokenizer, ids []int32) (pieces []string) {
	for _, id := range ids {
		pieces = append(pieces, string(tok.Piece(id)))
	}
	return pieces
}
