package cli

import (
	"context"
	"fmt"

	"mustafar/internal/eval"
	"mustafar/internal/report"
	"mustafar/kvcache"
)

// compareCommand answers a prompt under several caches and tells what each costs.
func compareCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("compare")
	p := addPromptFlags(f, "prompt")
	var caches, format string
	var n int
	f.in("Comparison")
	f.str(&caches, "--caches", "LIST", "caches as --cache names them, separated by commas; the first is the reference", defaultCaches)
	f.integer(&n, "-n, --predict, --n-predict", "tokens of each answer", 128, 1)
	f.choice(&format, "-o, --output", "md|text|json", "a table, or a JSON object a cache; the answers stream on stderr", "md")
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	switch {
	case len(words) > 0:
		return usagef("compare: %q: the prompt goes behind -p", words[0])
	case f.given("--cache") || f.given("--sparsity") || f.given("-ctk") || f.given("-ctv"):
		return usagef("compare: --cache, --sparsity, -ctk and -ctv name one cache: --caches names several")
	}
	policies, names, err := m.list(caches)
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
	l, err := m.load(e, file, func(s kvcache.Shape, n int) int64 { // the reference stays while the others come and go
		var most int64
		for _, p := range policies[1:] {
			most = max(most, p.Bytes(s, n))
		}
		return policies[0].Bytes(s, n) + most
	})
	if err != nil {
		return err
	}
	defer l.close()
	tokens, err := l.promptTokens(prompt)
	if err != nil {
		return err
	}
	if len(tokens)+n > l.ctx {
		return fmt.Errorf("compare: %d tokens of prompt and %d of answer do not fit the context of %d: give a smaller -n, or a larger -c", len(tokens), n, l.ctx)
	}

	bar := newProgress(e, "")
	results, err := eval.Compare(ctx, eval.CompareOptions{
		Names: names, Policies: policies, Prompt: tokens, Max: n, NewLoop: l.newLoop,
		Begin: func(name string) {
			fmt.Fprintf(e.stderr, "── %s ──\n", name)
			bar = newProgress(e, "reading the prompt")
		},
		Emit:     func(text string) { fmt.Fprint(e.stderr, text) },
		Progress: func(done, total int) { bar.set(done, total) },
		End:      func() { fmt.Fprint(e.stderr, "\n\n") },
	})
	bar.finish()
	if werr := printCompared(e, format, results, l, len(tokens), n); err == nil {
		err = werr
	}
	return err
}

// printCompared prints what is complete.
func printCompared(e *env, format string, results []eval.Compared, l *loaded, prompt, n int) error {
	if len(results) == 0 {
		return nil
	}
	if format == "json" {
		for _, r := range results {
			if err := writeJSON(e.stdout, newComparedJSON(r)); err != nil {
				return err
			}
		}
		return nil
	}
	t := report.Table{Head: []string{"cache", "KV MiB", "ratio", "peak MiB", "prefill t/s", "decode t/s", "KL to " + results[0].Name, "same top-1", "texts part at"}}
	for i, r := range results {
		kl, top, parts := "-", "-", "-"
		if r.KL != nil {
			kl, top = fmt.Sprintf("%.4f", r.KL.Mean), fmt.Sprintf("%.1f %%", 100*r.KL.Top1)
		}
		switch {
		case r.Parts >= 0:
			parts = fmt.Sprintf("token %d", r.Parts)
		case i > 0:
			parts = "never"
		}
		t.Add(r.Name, fmt.Sprintf("%.2f", float64(r.Usage.Bytes)/(1<<20)), fmt.Sprintf("%.3f", r.Usage.Ratio()), fmt.Sprintf("%.2f", float64(r.Usage.Peak)/(1<<20)),
			fmt.Sprintf("%.1f", r.PromptRate()), fmt.Sprintf("%.1f", r.PredictedRate()), kl, top, parts)
	}
	fmt.Fprintf(e.stdout, "%s, prompt of %d tokens, answers of at most %d, %s (%s)\n\n", l.model.Name, prompt, n, l.backend.Name(), l.backend.Info())
	if format == "text" {
		return t.Text(e.stdout)
	}
	return t.Markdown(e.stdout)
}

type comparedJSON struct {
	Cache        string   `json:"cache"`
	PromptTokens int      `json:"prompt_tokens"`
	Prefill      float64  `json:"prefill_ts"`
	Decode       float64  `json:"decode_ts"`
	KV           kvJSON   `json:"kv"`
	KL           *float64 `json:"kl_mean"`
	Top1         *float64 `json:"top1"`
	Parts        *int     `json:"first_divergence"`
	Text         string   `json:"text"`
}

// newComparedJSON leaves null what the reference has no value for, and where the texts do not part.
func newComparedJSON(r eval.Compared) comparedJSON {
	j := comparedJSON{Cache: r.Name, PromptTokens: r.PromptTokens, Prefill: r.PromptRate(), Decode: r.PredictedRate(), KV: newKVJSON(r.Usage, r.Policy), Text: r.Text}
	if r.KL != nil {
		j.KL, j.Top1 = &r.KL.Mean, &r.KL.Top1
	}
	if r.Parts >= 0 {
		j.Parts = &r.Parts
	}
	return j
}
