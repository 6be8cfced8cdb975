package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"mustafar/internal/generate"
	"mustafar/kvcache"
)

// runCommand completes one prompt.
func runCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("run")
	p := addPromptFlags(f, "prompt")
	var n int
	var stops []string
	var format string
	f.in("Answer")
	f.integer(&n, "-n, --predict, --n-predict", "tokens to generate; -1 or -2: until the model ends or the context is full", -1, -2)
	f.add("-r, --reverse-prompt", "TEXT", "end where the answer says this; may be repeated", "", func(s string) error {
		stops = append(stops, unescape(s))
		return nil
	})
	f.choice(&format, "-o, --output", "text|json", "stream the text, or print one JSON object at the end", "text")
	s := addSamplingFlags(f)
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	if len(words) > 0 {
		return usagef("run: %q: the prompt goes behind -p", words[0])
	}
	if err := s.validate(); err != nil {
		return err
	}
	policy, err := m.policy()
	if err != nil {
		return err
	}
	file, err := openModel(f.cmd, m.path)
	if err != nil {
		return err
	}
	defer file.Close()
	prompt, err := p.read(ctx, e)
	if err != nil {
		return err
	}
	l, err := m.load(e, file, policy.Bytes)
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
	if m.verbose {
		fmt.Fprintf(e.stderr, "mustafar: prompt of %d tokens, seed %d\n", len(tokens), sampler.Seed())
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := &answerWriter{out: e.stdout, quiet: format == "json", cancel: cancel}
	bar := newProgress(e, "reading the prompt")
	loop := l.newLoop(policy)
	job, err := loop.Add(generate.Request{
		Seq: loop.Cache.NewSeq(), Prompt: tokens, Sampler: sampler, Max: n, Stops: stops, Emit: answer.emit,
		Progress: bar.set,
	})
	if err != nil {
		return err
	}
	err = loop.Run(ctx)
	bar.finish()
	answer.end()
	if err != nil {
		return err
	}
	usage := loop.Cache.Usage()
	if format == "json" {
		if err := writeJSON(e.stdout, newRunJSON(job.Result, usage, policy)); err != nil {
			return err
		}
	}
	if job.Stop == generate.StopContext {
		fmt.Fprintf(e.stderr, "mustafar: the context of %d tokens is full: -c asks for more, --sparsity makes it smaller in memory\n", loop.Ctx)
	}
	printPerf(e.stderr, job.Timings, usage, policy)
	if job.Stop == generate.StopInterrupt {
		return errInterrupted
	}
	return nil
}

// promptTokens returns the tokens of a prompt, which must leave room in the context. Some models begin an empty one with BOS, others cannot run it.
func (l *loaded) promptTokens(text string) ([]int32, error) {
	tokens := l.tok.Encode(text, true, true)
	switch n := len(tokens); {
	case n == 0:
		return nil, errors.New("the prompt is empty, and this model begins no text by itself: want at least one token")
	case n >= l.ctx:
		return nil, fmt.Errorf("the prompt has %d tokens, the context is %d: give a shorter one, or a larger context with -c", n, l.ctx)
	}
	return tokens, nil
}

// answerWriter streams an answer to stdout. When nobody reads it any more it cancels the run.
type answerWriter struct {
	out    io.Writer
	quiet  bool
	last   byte
	cancel context.CancelFunc
}

func (a *answerWriter) emit(text string) {
	if a.quiet || text == "" {
		return
	}
	a.last = text[len(text)-1]
	if _, err := io.WriteString(a.out, text); err != nil {
		a.cancel()
	}
}

// end closes the last line.
func (a *answerWriter) end() {
	if a.last != '\n' {
		a.emit("\n")
	}
}

type runJSON struct {
	Text         string      `json:"text"`
	Tokens       []int32     `json:"tokens"`
	PromptTokens int         `json:"prompt_tokens"`
	Stop         string      `json:"stop"`
	Timings      timingsJSON `json:"timings"`
	KV           kvJSON      `json:"kv"`
}

func newRunJSON(r generate.Result, u kvcache.Usage, p kvcache.Policy) runJSON {
	tokens := append([]int32{}, r.Tokens...) // [], never null
	return runJSON{r.Text, tokens, r.PromptTokens, r.Stop, newTimingsJSON(r.Timings), newKVJSON(u, p)}
}

// writeJSON writes one object on one line.
func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
