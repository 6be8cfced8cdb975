package tokenizer

import (
	"slices"
	"testing"
)

// The goldens are Python's regex with the patterns that llama.cpp has for these names; testdata/goldens.py wrote them.
func TestWords(t *testing.T) {
	texts := readJSON[[]string](t, "texts.json")
	for name, goldens := range readJSON[map[string][][]int](t, "words.json") {
		t.Run(name, func(t *testing.T) {
			for i, text := range texts {
				var got, want []string
				eachWord(text, pres[name].stages, func(word string) { got = append(got, word) })
				for _, n := range goldens[i] {
					want = append(want, text[:n])
					text = text[n:]
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %q\nwant %q", got, want)
				}
			}
		})
	}
}
