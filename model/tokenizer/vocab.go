package tokenizer

import (
	"fmt"

	"github.com/sugarme/tokenizer/model"

	"mustafar/gguf"
)

// The keys that every vocabulary has.
const (
	keyModel  = "tokenizer.ggml.model"
	keyTokens = "tokenizer.ggml.tokens"
	keyTypes  = "tokenizer.ggml.token_type"
)

// vocab holds what a token is: its text in the file, its type, the bytes that it stands for.
type vocab struct {
	tokens []string    // as the file spells them
	ids    model.Vocab // id by that spelling
	types  []tokenType
	pieces []byte // the bytes of all tokens, one after the other
	ends   []int  // where each ends in pieces
}

// tokenType is the type of a token in the file.
type tokenType uint8

const (
	undefined   tokenType = iota
	normal                // text
	unknown               // stands for what has no token
	control               // structure, not text: BOS, the marks of a chat
	userDefined           // text that is one token wherever it stands
	unused                // text
	byteToken             // <0x0A>: one byte of a rune that has no token
)

func readVocab(f *gguf.File) (*vocab, error) {
	tokens, err := f.Strings(keyTokens)
	if err != nil {
		return nil, err
	}
	v := &vocab{tokens: tokens, ids: make(model.Vocab, len(tokens)), types: make([]tokenType, len(tokens))}
	for i, s := range tokens {
		if s != "" {
			v.ids[s] = i
		}
	}
	if !f.Has(keyTypes) {
		for i := range v.types {
			v.types[i] = normal
		}
		return v, nil
	}
	types, err := f.Ints(keyTypes)
	if err != nil {
		return nil, err
	}
	if len(types) < len(tokens) {
		return nil, fmt.Errorf("tokenizer: %s: %s has %d entries, want one for each of the %d tokens", f.Path, keyTypes, len(types), len(tokens))
	}
	for i := range v.types {
		if ty := types[i]; ty >= 0 && ty <= int32(byteToken) {
			v.types[i] = tokenType(ty)
		}
	}
	return v, nil
}

// fillPieces fills the bytes of all tokens.
func (v *vocab) fillPieces(e encoder) {
	n := 0
	for _, s := range v.tokens {
		n += len(s)
	}
	v.pieces = make([]byte, 0, n)
	v.ends = make([]int, len(v.tokens))
	for i, s := range v.tokens {
		switch v.types[i] {
		case control, userDefined, unknown:
			v.pieces = append(v.pieces, s...)
		case byteToken:
			if b, ok := parseByte(s); ok {
				v.pieces = append(v.pieces, b)
				break
			}
			fallthrough
		default:
			v.pieces = e.spelled(v.pieces, s)
		}
		v.ends[i] = len(v.pieces)
	}
}

// parseByte reads the spelling of a byte token, <0x0A>.
func parseByte(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	var b byte
	for _, c := range []byte(s[3:5]) {
		switch {
		case c >= '0' && c <= '9':
			b = b<<4 | (c - '0')
		case c >= 'A' && c <= 'F':
			b = b<<4 | (c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return b, true
}

// Vocab returns the number of tokens.
func (v *vocab) Vocab() int { return len(v.tokens) }

// Piece returns the bytes that id stands for, nil outside the vocabulary; of a special token its text. They may be part
// of a rune, and are not to be changed.
func (v *vocab) Piece(id int32) []byte {
	if id < 0 || int(id) >= len(v.ends) {
		return nil
	}
	begin := 0
	if id > 0 {
		begin = v.ends[id-1]
	}
	return v.pieces[begin:v.ends[id]:v.ends[id]]
}

// IsSpecial returns whether id is a control token or the one for unknown text: what Decode and Stream do not show.
func (v *vocab) IsSpecial(id int32) bool { return v.has(id, control) || v.has(id, unknown) }

func (v *vocab) has(id int32, ty tokenType) bool {
	return id >= 0 && int(id) < len(v.types) && v.types[id] == ty
}

// id returns the token of a spelling, -1 if there is none.
func (v *vocab) id(spelling string) int32 {
	if id, ok := v.ids[spelling]; ok {
		return int32(id)
	}
	return -1
}
