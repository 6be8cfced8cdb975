package tokenizer

import (
	"fmt"
	"strings"
	"sync"

	"github.com/sugarme/tokenizer/model/bpe"
	"github.com/sugarme/tokenizer/pretokenizer"

	"mustafar/gguf"
)

const (
	keyPre    = "tokenizer.ggml.pre"
	keyMerges = "tokenizer.ggml.merges"
)

// byteLevel is a BPE whose symbols are bytes. The vocabulary spells a byte as a printable rune, a space as Ġ: the byte
// alphabet of GPT-2.
type byteLevel struct {
	store
	pre
	bytes [256]int32 // the token of each byte, -1: none
	ready func()     // returns when Merges is filled
}

func (t *Tokenizer) useByteLevel(f *gguf.File) error {
	name, err := f.StringOr(keyPre, "default")
	if err != nil {
		return err
	}
	t.name = "gpt2 (" + name + ")"
	if !f.Has(keyPre) {
		t.name = "gpt2 (default, as the file has no " + keyPre + ")" // llama.cpp warns of it
	}
	m := &byteLevel{store: newStore(t.vocab)}
	var ok bool
	if m.pre, ok = pres[name]; !ok {
		return fmt.Errorf("tokenizer: %s: %s is %q, want one of %s", f.Path, keyPre, name, preNames())
	}
	merges, err := f.Strings(keyMerges)
	if err != nil {
		return err
	}
	m.ready = sync.OnceFunc(func() { *m.Merges = readMerges(t.vocab, merges) })
	go m.ready() // 10 to 100 ms that pass while the weights are read
	for b := range m.bytes {
		m.bytes[b] = t.id(pretokenizer.BytesChar[byte(b)])
	}
	t.encoder, t.addBOS = m, m.addBOS
	return nil
}

// readMerges returns the rank of each pair, its place in the file, and the token that it becomes. A merge of spellings
// that have no token can make none and is left out.
func readMerges(v *vocab, merges []string) bpe.Merges {
	pairs := make(bpe.Merges, len(merges))
	var joined []byte
	for rank := len(merges) - 1; rank >= 0; rank-- { // so that the first of equal pairs stays
		s := merges[rank]
		if s == "" {
			continue
		}
		space := strings.IndexByte(s[1:], ' ') + 1
		if space == 0 {
			continue
		}
		left, ok1 := v.ids[s[:space]]
		right, ok2 := v.ids[s[space+1:]]
		joined = append(append(joined[:0], s[:space]...), s[space+1:]...)
		id, ok3 := v.ids[string(joined)]
		if ok1 && ok2 && ok3 {
			pairs[bpe.Pair{C1: left, C2: right}] = bpe.PairVal{Rank: rank, NewId: id}
		}
	}
	return pairs
}

// spelled reads the byte alphabet. Runes outside it stand for themselves.
func (m *byteLevel) spelled(dst []byte, spelling string) []byte {
	for _, r := range spelling {
		if int(r) < len(alphabet) && alphabet[r] >= 0 {
			dst = append(dst, byte(alphabet[r]))
		} else {
			dst = append(dst, string(r)...)
		}
	}
	return dst
}

// alphabet is the byte of each rune of the byte alphabet, -1: none.
var alphabet = func() (a [324]int16) {
	for r := range a {
		a[r] = -1
		if b, ok := pretokenizer.CharBytes[string(rune(r))]; ok {
			a[r] = int16(b)
		}
	}
	return a
}()

func (m *byteLevel) encode(dst []int32, text string, _ bool) []int32 {
	eachWord(text, m.stages, func(word string) { dst = m.appendWord(dst, word, m) })
	return dst
}

func (m *byteLevel) merge(word string) []bpe.Symbol {
	if m.ignoreMerges {
		var spelling []byte
		for _, b := range []byte(word) {
			spelling = append(spelling, pretokenizer.BytesChar[b]...)
		}
		if id, ok := (*m.Vocab)[string(spelling)]; ok {
			return []bpe.Symbol{{C: id, Len: len(word)}}
		}
	}
	m.ready()
	syms := make([]symbol, len(word))
	for i := range syms {
		at := int32(i)
		syms[i] = symbol{id: m.bytes[word[i]], start: at, end: at + 1, prev: at - 1, next: at + 1}
	}
	syms[len(syms)-1].next = -1
	syms = mergeAll(syms, func(l, r symbol) (float64, int32, bool) {
		p, ok := (*m.Merges)[bpe.Pair{C1: int(l.id), C2: int(r.id)}]
		return float64(p.Rank), int32(p.NewId), ok
	})
	out := make([]bpe.Symbol, 0, len(syms))
	for _, s := range syms {
		if s.id >= 0 {
			out = append(out, bpe.Symbol{C: int(s.id), Len: int(s.end - s.start)})
		}
	}
	return out
}
