package cli

import (
	"context"
	"fmt"

	"mustafar/internal/eval"
	"mustafar/internal/generate"
	"mustafar/internal/report"
	"mustafar/kvcache"
)

// compareCommand answers a prompt under several caches and tells what each costs.
func compareCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("compare")
	p := addPromptFlags(f)
	var caches, output string
	var n int
	f.in("Comparison")
	f.str(&caches, "caches", "LIST", "caches as --cache names them, separated by commas; the first is the reference", "dense,paper:0.5,paper:0.7,sparse:0.5,sparse:0.7")
	f.integer(&n, "n,predict,n-predict", "tokens of each answer", 128)
	f.str(&output, "o,output", "md|text|json", "a table, or a JSON object a cache; the answers stream on stderr", "md")
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return ignoreHelp(err)
	}
	switch {
	case len(words) > 0:
		return usagef("compare: %q: the prompt goes behind -p", words[0])
	case output != "md" && output != "text" && output != "json":
		return usagef("-o %q: want md, text or json", output)
	case n < 1:
		return usagef("-n %d: want at least 1 token", n)
	case f.given("cache", "sparsity", "ctk", "ctv", "cache-type-k", "cache-type-v"):
		return usagef("compare: --caches lists the caches")
	}
	policies, names, err := parseCaches(caches)
	if err != nil {
		return err
	}
	for i := range policies {
		if policies[i], err = m.numbers(policies[i]); err != nil {
			return err
		}
	}
	prompt, err := p.read(e)
	if err != nil {
		return err
	}
	l, err := m.open(e, policies...)
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

	var bar *progress
	results, err := eval.Compare(ctx, eval.CompareOptions{
		Names: names, Policies: policies, Prompt: tokens, Max: n,
		NewLoop: func(p kvcache.Policy) *generate.Loop { return l.newLoop(m, p) },
		Begin: func(name string) {
			fmt.Fprintf(e.stderr, "\n── %s ──\n", name)
			bar = newProgress(e, "reading the prompt")
		},
		Emit: func(text string) { fmt.Fprint(e.stderr, text) },
		Progress: func(done, total int) {
			if bar.set(done, total); done == total {
				bar.finish()
			}
		},
	})
	if bar != nil {
		bar.finish()
	}
	fmt.Fprint(e.stderr, "\n\n")
	if werr := printCompared(e, output, results, l); err == nil {
		err = werr
	}
	return err
}

func printCompared(e *env, output string, results []eval.Compared, l *loaded) error {
	if output == "json" {
		for _, r := range results {
			if err := writeJSON(e.stdout, newComparedJSON(r), ""); err != nil {
				return err
			}
		}
		return nil
	}
	t := report.Table{Head: []string{"cache", "KV MiB", "ratio", "peak MiB", "prefill t/s", "decode t/s", "KL to dense", "same top-1", "texts part at"}}
	for _, r := range results {
		kl, top, parts := "-", "-", "-"
		if r.KL != nil {
			kl, top, parts = fmt.Sprintf("%.4f", r.KL.Mean), fmt.Sprintf("%.1f %%", 100*r.KL.Top1), "never"
			if r.Parts >= 0 {
				parts = fmt.Sprintf("token %d", r.Parts)
			}
		}
		t.Add(r.Name, fmt.Sprintf("%.2f", float64(r.Usage.Bytes)/(1<<20)), fmt.Sprintf("%.3f", r.Usage.Ratio()), fmt.Sprintf("%.2f", float64(r.Usage.Peak)/(1<<20)),
			fmt.Sprintf("%.1f", r.PromptRate()), fmt.Sprintf("%.1f", r.PredictedRate()), kl, top, parts)
	}
	if len(results) == 0 {
		return nil
	}
	fmt.Fprintf(e.stdout, "%s, prompt of %d tokens, answers of at most %d, %s (%s)\n\n",
		l.model.Name, results[0].PromptTokens, len(results[0].Tokens), l.backend.Name(), l.backend.Info())
	if output == "text" {
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
