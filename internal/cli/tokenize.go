package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"mustafar/model/tokenizer"
)

// tokenizeCommand prints the ids of a text. A file with a vocabulary and no tensors will do.
func tokenizeCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("tokenize")
	var path string
	var noBOS, noParse, pieces bool
	f.in("Vocabulary")
	f.str(&path, "m,model", "FILE", "model or vocabulary file (GGUF)", "")
	p := addPromptFlags(f)
	f.in("Output")
	f.boolean(&noBOS, "no-bos", "do not add BOS (or EOS) where the model asks for it")
	f.boolean(&noParse, "no-parse-special", "take the text of special tokens as plain text")
	f.boolean(&pieces, "pieces", "print each id with its text, one a line")
	words, err := f.parse(e, args)
	if err != nil {
		return ignoreHelp(err)
	}
	if len(words) > 0 {
		if len(words) > 1 || f.given("p", "prompt", "f", "file") {
			return usagef("tokenize: %q: want one text", words)
		}
		f.set.Set("p", words[0])
		p.raw = true
	}
	text, err := p.read(e)
	if err != nil {
		return err
	}
	m := &modelFlags{f: f, path: path}
	file, err := m.openFile()
	if err != nil {
		return err
	}
	defer file.Close()
	t, err := tokenizer.New(file)
	if err != nil {
		return err
	}
	ids := t.Encode(text, !noBOS, !noParse)
	if pieces {
		for _, id := range ids {
			fmt.Fprintf(e.stdout, "%7d %q\n", id, t.Piece(id))
		}
		return nil
	}
	b, err := json.Marshal(append([]int32{}, ids...))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, strings.TrimSpace(string(b)))
	return err
}
