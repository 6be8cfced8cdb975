package cli

import (
	"context"
	"fmt"

	"mustafar/model/tokenizer"
)

// tokenizeCommand prints the ids of a text. A file with a vocabulary and no tensors will do.
func tokenizeCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("tokenize")
	var path string
	var noBOS, noParse, pieces bool
	f.in("Vocabulary")
	addModelPath(f, &path)
	p := addPromptFlags(f, "text")
	f.in("Output")
	f.boolean(&noBOS, "--no-bos", "do not add BOS (or EOS) where the model asks for it")
	f.boolean(&noParse, "--no-parse-special", "take the text of special tokens as plain text")
	f.boolean(&pieces, "--pieces", "print each id with its text, one a line")
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	file, err := openModel(f.cmd, path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := p.read(ctx, e, words...)
	if err != nil {
		return err
	}
	t, err := tokenizer.New(file)
	if err != nil {
		return err
	}
	ids := t.Encode(text, !noBOS, !noParse)
	if !pieces {
		return writeJSON(e.stdout, ids)
	}
	for _, id := range ids {
		fmt.Fprintf(e.stdout, "%7d %q\n", id, t.Piece(id))
	}
	return nil
}
