package tokenizer

import (
	"cmp"
	"slices"
	"strings"

	"mustafar/gguf"
)

// specials are tokens that are cut out of a text before it is split into words: the longest first.
type specials struct {
	tokens []special
	heads  []string // the first two bytes of their texts, each once
}

type special struct {
	text  string
	id    int32
	head  int  // in heads
	strip bool // white space after it belongs to it
}

// findSpecials collects the tokens that are cut out of text: control and unknown tokens where the caller wants them
// parsed, user-defined ones always.
func (t *Tokenizer) findSpecials(f *gguf.File) error {
	name, err := f.StringOr("general.name", "")
	if err != nil {
		return err
	}
	name = strings.ToLower(name)
	phi3 := strings.Contains(name, "phi-3") || strings.Contains(name, "phi3") // so does llama.cpp tell: no key says it
	var all, user []special
	for i, text := range t.tokens {
		id := int32(i)
		s := special{text: text, id: id}
		switch text {
		case "":
			continue
		case "<unk>", "<s>", "<|endoftext|>":
		default:
			s.strip = phi3
		}
		switch t.types[i] {
		case userDefined:
			user = append(user, s)
			fallthrough
		case control, unknown:
			all = append(all, s)
		}
	}
	t.all, t.user = newSpecials(all), newSpecials(user)
	return nil
}

func newSpecials(tokens []special) specials {
	slices.SortStableFunc(tokens, func(a, b special) int { return cmp.Compare(len(b.text), len(a.text)) })
	s := specials{tokens: tokens}
	for i, t := range tokens {
		head := t.text[:min(2, len(t.text))]
		at := slices.Index(s.heads, head)
		if at < 0 {
			at = len(s.heads)
			s.heads = append(s.heads, head)
		}
		tokens[i].head = at
	}
	return s
}

// cut calls token for each special token in text, and plain for what lies between them, in order. A longer token is cut
// out before a shorter one, wherever they stand.
func (s specials) cut(text string, plain func(string), token func(int32)) {
	has := make([]bool, len(s.heads)) // most texts have none of them, and a vocabulary may have a thousand tokens
	for i, h := range s.heads {
		has[i] = strings.Contains(text, h)
	}
	var found []special
	for _, t := range s.tokens {
		if has[t.head] && strings.Contains(text, t.text) {
			found = append(found, t)
		}
	}
	cut(text, found, plain, token)
}

func cut(text string, tokens []special, plain func(string), token func(int32)) {
	for i, t := range tokens {
		for {
			at := strings.Index(text, t.text)
			if at < 0 {
				break
			}
			cut(text[:at], tokens[i+1:], plain, token)
			token(t.id)
			text = text[at+len(t.text):]
			if t.strip {
				text = strings.TrimLeft(text, " \t\n\v\f\r")
			}
		}
	}
	if text != "" {
		plain(text)
	}
}
