package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"mustafar/internal/generate"
)

// runCommand completes one prompt.
func runCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("run")
	p := addPromptFlags(f)
	f.in("Answer")
	var n int
	var stops []string
	var output string
	f.integer(&n, "n,predict,n-predict", "tokens to generate; -1: until the model ends or the context is full", -1)
	f.each("r,reverse-prompt", "TEXT", "end where the answer says this; may be repeated", "", func(s string) error {
		stops = append(stops, unescape(s))
		return nil
	})
	f.str(&output, "o,output", "text|json", "stream the text, or print one JSON object at the end", "text")
	s := addSamplingFlags(f)
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return ignoreHelp(err)
	}
	switch {
	case len(words) > 0:
		return usagef("run: %q: the prompt goes behind -p", words[0])
	case output != "text" && output != "json":
		return usagef("-o %q: want text or json", output)
	case n < -2:
		return usagef("-n %d: want a number of tokens, or -1", n)
	}
	policy, err := m.policy()
	if err != nil {
		return err
	}
	prompt, err := p.read(e)
	if err != nil {
		return err
	}
	l, err := m.open(e, policy)
	if err != nil {
		return err
	}
	defer l.close()
	sampler, err := s.sampler(l.tok)
	if err != nil {
		return err
	}
	tokens, err := l.promptTokens(prompt)
	if err != nil {
		return err
	}

	loop := l.newLoop(m, policy)
	out := &answerWriter{w: e.stdout, quiet: output == "json"}
	bar := newProgress(e, "reading the prompt")
	job, err := loop.Add(generate.Request{
		Seq: loop.Cache.NewSeq(), Prompt: tokens, Sampler: sampler, Max: n, Stops: stops, Emit: out.emit,
		Progress: func(done, total int) {
			bar.set(done, total)
			if done == total {
				bar.finish()
			}
		},
	})
	if err != nil {
		return err
	}
	err = loop.Run(out.until(ctx))
	bar.finish()
	if err != nil {
		out.end()
		return err
	}
	usage := loop.Cache.Usage()
	if output == "json" {
		return writeJSON(e.stdout, struct {
			Text         string      `json:"text"`
			Tokens       []int32     `json:"tokens"`
			PromptTokens int         `json:"prompt_tokens"`
			Stop         string      `json:"stop"`
			Timings      timingsJSON `json:"timings"`
			KV           kvJSON      `json:"kv"`
		}{job.Text, job.Tokens, job.PromptTokens, job.Stop, newTimingsJSON(job.Timings), newKVJSON(usage, policy)}, job.Stop)
	}
	out.end()
	if job.Stop == generate.StopContext {
		fmt.Fprintf(e.stderr, "mustafar: the context of %d tokens is full: -c asks for more, --sparsity makes it smaller in memory\n", loop.Ctx)
	}
	printPerf(e.stderr, job.Timings, usage, policy)
	if out.err != nil {
		return fmt.Errorf("writing the answer: %w", out.err)
	}
	return interrupted(job.Stop)
}

func interrupted(stop string) error {
	if stop == generate.StopInterrupt {
		return errInterrupted
	}
	return nil
}

// promptTokens returns the tokens of a prompt that must fit the context, BOS alone for an empty one.
func (l *loaded) promptTokens(text string) ([]int32, error) {
	tokens := l.tok.Encode(text, true, true)
	if len(tokens) == 0 && l.tok.BOS() >= 0 {
		tokens = []int32{l.tok.BOS()}
	}
	switch {
	case len(tokens) == 0:
		return nil, generate.ErrEmptyPrompt
	case len(tokens) >= l.ctx:
		return nil, fmt.Errorf("the prompt has %d tokens, the context is %d: give a shorter one, or a larger context with -c", len(tokens), l.ctx)
	}
	return tokens, nil
}

// answerWriter streams an answer to stdout. When nobody reads it any more, its error ends the loop.
type answerWriter struct {
	w      io.Writer
	quiet  bool
	last   byte
	err    error
	cancel context.CancelFunc
}

// until returns a context that also ends when the answer cannot be written.
func (a *answerWriter) until(ctx context.Context) context.Context {
	ctx, a.cancel = context.WithCancel(ctx)
	return ctx
}

func (a *answerWriter) emit(text string) {
	if a.quiet || a.err != nil || text == "" {
		return
	}
	a.last = text[len(text)-1]
	if _, a.err = io.WriteString(a.w, text); a.err != nil {
		a.cancel()
	}
}

// end closes the last line.
func (a *answerWriter) end() {
	if !a.quiet && a.last != '\n' && a.err == nil {
		_, a.err = io.WriteString(a.w, "\n")
	}
}

// writeJSON writes one object on one line; stop is why the answer ended.
func writeJSON(w io.Writer, v any, stop string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return interrupted(stop)
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
