// Package tokenizer turns text into the tokens of a model and back, from the vocabulary in its GGUF file, as llama.cpp
// does.
//
//	text ─special tokens cut out→ plain text ─split→ words ─merged→ tokens     Encode
//	tokens ─pieces, bytes put together→ text                                   Decode, Stream
//
// Two kinds of vocabulary are read: SentencePiece BPE (tokenizer.ggml.model "llama"; words start at spaces, pieces merge
// by score, unknown runes become byte tokens) and byte-level BPE ("gpt2"; tokenizer.ggml.pre names how text is split into
// words, pieces merge by rank). Both keep vocabulary, merges and known words in a bpe.BPE of sugarme/tokenizer.
package tokenizer

import (
	"fmt"
	"slices"
	"strings"

	"mustafar/gguf"
)

// Tokenizer is the vocabulary of one model. It may be used from several goroutines at once.
type Tokenizer struct {
	name string
	encoder
	*vocab

	all, user specials // what is cut out of text: every special token, or those that are always cut out

	bos, eos       int32 // -1: none
	addBOS, addEOS bool
	eog            []int32 // sorted
	prefix         bool    // a space is put before plain text
}

// encoder is a kind of vocabulary.
type encoder interface {
	// encode appends the tokens of plain text. Start says that it begins the text or follows a special token.
	encode(dst []int32, text string, start bool) []int32
	// spelled appends the bytes that the spelling of a token stands for.
	spelled(dst []byte, spelling string) []byte
}

// New reads the vocabulary from the keys tokenizer.ggml.* of f. It keeps strings of f, not f.
func New(f *gguf.File) (*Tokenizer, error) {
	t := &Tokenizer{}
	kind, err := f.String(keyModel)
	if err != nil {
		return nil, err
	}
	if t.vocab, err = readVocab(f); err != nil {
		return nil, err
	}
	switch kind {
	case "llama":
		err = t.useSentencePiece(f)
	case "gpt2":
		err = t.useByteLevel(f)
	default:
		err = fmt.Errorf("tokenizer: %s: %s is %q, want llama (SentencePiece) or gpt2 (byte-level BPE)", f.Path, keyModel, kind)
	}
	if err != nil {
		return nil, err
	}
	if err := t.findEnds(f); err != nil {
		return nil, err
	}
	t.fillPieces(t.encoder)
	if err := t.findSpecials(f); err != nil {
		return nil, err
	}
	return t, nil
}

// Name returns the kind of vocabulary: "llama (SentencePiece)", or "gpt2 (smollm)" with the name of how text is split,
// and a remark where the file names none.
func (t *Tokenizer) Name() string { return t.name }

// Encode returns the tokens of text, which may hold any bytes. AddSpecial puts BOS before and EOS after them where the
// file asks for it, but no BOS before a text that parses to one. ParseSpecial makes the text of control tokens into
// those tokens; that of user-defined tokens always becomes one. A byte that has no token is left out (some vocabularies
// lack a few control characters). The ids are llama.cpp's, but for a second BOS, which it adds, and for invalid UTF-8,
// which it does not keep.
func (t *Tokenizer) Encode(text string, addSpecial, parseSpecial bool) []int32 {
	out := make([]int32, 0, len(text)/4+8)
	if addSpecial && t.addBOS {
		out = append(out, t.bos)
	}
	specials := t.user
	if parseSpecial {
		specials = t.all
	}
	start := true
	specials.cut(text, func(text string) {
		out = t.encode(out, text, start)
		start = false
	}, func(id int32) {
		out = append(out, id)
		start = true
	})
	if addSpecial && t.addBOS && parseSpecial && len(out) > 1 && out[1] == t.bos {
		out = out[1:]
	}
	if addSpecial && t.addEOS {
		out = append(out, t.eos)
	}
	return out
}

// Decode returns the text of ids; ids outside the vocabulary have none. Special shows control tokens, which are left
// out otherwise. The space that Encode puts before plain text in a SentencePiece vocabulary is taken away again, so that
// Decode of Encode is the text, but for this: such a vocabulary cannot tell U+2581 from a space. (llama.cpp takes away
// the first space of the whole text, and none after a BOS.)
func (t *Tokenizer) Decode(ids []int32, special bool) string {
	var b strings.Builder
	start := true
	for _, id := range ids {
		p := t.Piece(id)
		switch {
		case t.IsSpecial(id):
			if !special {
				p = nil
			}
			start = true
		case t.has(id, userDefined):
			start = true
		default:
			if start && t.prefix && len(p) > 0 && p[0] == ' ' {
				p = p[1:]
			}
			start = false
		}
		b.Write(p)
	}
	return b.String()
}

// IsEOG returns whether id ends the generation: one of EOG.
func (t *Tokenizer) IsEOG(id int32) bool {
	_, ok := slices.BinarySearch(t.eog, id)
	return ok
}

// EOG returns the tokens that end the generation, sorted. It is not to be changed.
func (t *Tokenizer) EOG() []int32 { return t.eog }

// BOS returns the token that begins a text, -1 if there is none.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the token that ends a text, -1 if there is none. A model may end its answer with others: see EOG.
func (t *Tokenizer) EOS() int32 { return t.eos }

// AddBOS returns whether Encode with addSpecial begins with BOS.
func (t *Tokenizer) AddBOS() bool { return t.addBOS }
