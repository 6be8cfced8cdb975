package tokenizer

import (
	"fmt"
	"slices"

	"mustafar/gguf"
)

// endTexts are the tokens that end the generation in any vocabulary that has them: llama.cpp's list, as no key holds it.
var endTexts = []string{
	"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
	"<|endoftext|>", "<|end_of_text|>", "</s>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<end_of_utterance>", "<eos>",
	"<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
}

// fillTexts are tokens of fill-in-the-middle that end the generation too, by the key that names them. Where the key is
// absent, the first of these texts in the vocabulary is the token.
var fillTexts = []struct {
	key   string
	texts []string
}{
	{"fim_pad", []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
	{"fim_rep", []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
	{"fim_sep", []string{"<|file_sep|>"}},
}

// showTexts are marks of a chat that a reader of the answer needs: llama.cpp shows them, whatever their type.
var showTexts = []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}

// findEnds finds BOS, EOS and the tokens that end the generation, and sets the types that follow from that.
func (t *Tokenizer) findEnds(f *gguf.File) error {
	bos, eos := int32(-1), int32(-1)
	if _, ok := t.encoder.(*sentencePiece); ok {
		bos, eos = 1, 2
	}
	var err error
	if t.bos, err = t.tokenKey(f, "bos", bos); err != nil {
		return err
	}
	if t.eos, err = t.tokenKey(f, "eos", eos); err != nil {
		return err
	}
	if t.addBOS, err = addKey(f, "bos", t.bos, t.addBOS); err != nil {
		return err
	}
	if t.addEOS, err = addKey(f, "eos", t.eos, false); err != nil {
		return err
	}

	ends := []int32{t.eos}
	for _, key := range []string{"eot", "eom"} {
		id, err := t.tokenKey(f, key, -1)
		if err != nil {
			return err
		}
		ends = append(ends, id)
	}
	for _, fill := range fillTexts {
		id, err := t.tokenKey(f, fill.key, -1)
		if err != nil {
			return err
		}
		for i := 0; id < 0 && i < len(fill.texts); i++ {
			if id = t.id(fill.texts[i]); id >= 0 {
				t.types[id] = control
			}
		}
		ends = append(ends, id)
	}
	for _, text := range endTexts {
		if id := t.id(text); id >= 0 {
			t.types[id] = control
			ends = append(ends, id)
		}
	}
	for _, text := range showTexts {
		if id := t.id(text); id >= 0 {
			t.types[id] = userDefined
		}
	}
	ends = slices.DeleteFunc(ends, func(id int32) bool { return id < 0 })
	// In the vocabularies of gpt-oss and Solar Open <|end|> ends a message, and others end the answer.
	has := func(a, b string) bool { return slices.Contains(ends, t.id(a)) || slices.Contains(ends, t.id(b)) }
	if end := t.id("<|end|>"); end >= 0 && has("<|call|>", "<|calls|>") && has("<|return|>", "<|flush|>") {
		ends = slices.DeleteFunc(ends, func(id int32) bool { return id == end })
		t.types[end] = userDefined
	}
	slices.Sort(ends)
	t.eog = slices.Compact(ends)
	return nil
}

// tokenKey reads the id of a special token; def stands for an absent key and for an id outside the vocabulary, which
// some converters write for none. It returns -1 if there is no such token.
func (v *vocab) tokenKey(f *gguf.File, name string, def int32) (int32, error) {
	id, err := f.IntOr("tokenizer.ggml."+name+"_token_id", int(def))
	if err != nil {
		return -1, err
	}
	for _, id := range []int{id, int(def)} {
		if id >= 0 && id < len(v.tokens) {
			return int32(id), nil
		}
	}
	return -1, nil
}

// addKey reads whether a token is added to a text; def is what the kind of vocabulary does, if it has the token.
func addKey(f *gguf.File, name string, id int32, def bool) (bool, error) {
	key := "tokenizer.ggml.add_" + name + "_token"
	add, err := f.BoolOr(key, def && id >= 0)
	if err != nil {
		return false, err
	}
	if add && id < 0 {
		return false, fmt.Errorf("tokenizer: %s: %s is true, but tokenizer.ggml.%s_token_id names no token", f.Path, key, name)
	}
	return add, nil
}
