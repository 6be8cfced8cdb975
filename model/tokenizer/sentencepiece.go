package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sugarme/tokenizer/model/bpe"

	"mustafar/gguf"
)

const keyScores = "tokenizer.ggml.scores"

// metaspace is how a SentencePiece vocabulary spells a space: U+2581, lower one eighth block.
const metaspace = "\u2581"

// sentencePiece is a BPE whose symbols are runes. Two neighbours merge if together they spell a token, the one of the
// highest score first; so there is no list of merges.
type sentencePiece struct {
	store
	scores []float32
	bytes  [256]int32 // the token of each byte: what a rune without a token becomes
	prefix bool       // a space is put before the text
	words  bool       // no token holds a space after another rune, so that a word can be merged by itself
}

func (t *Tokenizer) useSentencePiece(f *gguf.File) error {
	m := &sentencePiece{store: newStore(t.vocab), words: true}
	var err error
	if m.scores, err = f.Floats(keyScores); err != nil {
		return err
	}
	if len(m.scores) < len(t.tokens) {
		return fmt.Errorf("tokenizer: %s: %s has %d entries, want one for each of the %d tokens", f.Path, keyScores, len(m.scores), len(t.tokens))
	}
	if m.prefix, err = f.BoolOr("tokenizer.ggml.add_space_prefix", true); err != nil {
		return err
	}
	unk, err := t.tokenKey(f, "unknown", 0)
	if err != nil {
		return err
	}
	for b := range m.bytes {
		m.bytes[b] = t.id(fmt.Sprintf("<0x%02X>", b))
		if m.bytes[b] < 0 {
			m.bytes[b] = unk
		}
	}
	for _, s := range t.tokens {
		if strings.Contains(strings.TrimLeft(s, metaspace), metaspace) {
			m.words = false
			break
		}
	}
	t.encoder, t.prefix, t.addBOS, t.name = m, m.prefix, true, "llama (SentencePiece)"
	return nil
}

func (m *sentencePiece) spelled(dst []byte, spelling string) []byte {
	for {
		before, after, ok := strings.Cut(spelling, metaspace)
		dst = append(dst, before...)
		if !ok {
			return dst
		}
		dst, spelling = append(dst, ' '), after
	}
}

func (m *sentencePiece) encode(dst []int32, text string, start bool) []int32 {
	if m.prefix && start {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", metaspace)
	if !m.words {
		return m.appendWord(dst, text, m)
	}
	for len(text) > 0 {
		n := 0
		for strings.HasPrefix(text[n:], metaspace) {
			n += len(metaspace)
		}
		if i := strings.Index(text[n:], metaspace); i >= 0 {
			n += i
		} else {
			n = len(text)
		}
		dst = m.appendWord(dst, text[:n], m)
		text = text[n:]
	}
	return dst
}

func (m *sentencePiece) merge(word string) []bpe.Symbol {
	syms := make([]symbol, 0, len(word))
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:]) // 1 for a byte that is not part of a rune
		id, ok := (*m.Vocab)[word[i:i+n]]
		if !ok {
			id = -1
		}
		at := int32(len(syms))
		syms = append(syms, symbol{id: int32(id), start: int32(i), end: int32(i + n), prev: at - 1, next: at + 1})
		i += n
	}
	syms[len(syms)-1].next = -1
	syms = mergeAll(syms, func(l, r symbol) (float64, int32, bool) {
		id, ok := (*m.Vocab)[word[l.start:r.end]]
		if !ok {
			return 0, 0, false
		}
		return -float64(m.scores[id]), int32(id), true
	})
	out := make([]bpe.Symbol, 0, len(syms))
	for _, s := range syms {
		if s.id >= 0 {
			out = append(out, bpe.Symbol{C: int(s.id), Len: int(s.end - s.start)})
			continue
		}
		for _, b := range []byte(word[s.start:s.end]) {
			if m.bytes[b] >= 0 {
				out = append(out, bpe.Symbol{C: int(m.bytes[b]), Len: 1})
			}
		}
	}
	return out
}
