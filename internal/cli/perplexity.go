package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"mustafar/internal/eval"
	"mustafar/kvcache"
)

// perplexityCommand measures how well a model with a cache predicts a text.
func perplexityCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("perplexity")
	var textFile, ids, format string
	var window, parallel int
	var kl bool
	f.in("Text")
	f.str(&textFile, "-f, --file", "FILE", "a text; BOS is set at each window's start where the model asks for it", "")
	f.str(&ids, "--ids", "FILE", "a JSON array of token ids, taken as they are", "")
	f.in("Measurement")
	f.integer(&window, "--ctx", "tokens of a window, also as -c; the second half of each is scored", 512, 4)
	f.boolean(&kl, "--kl", "compare with the dense cache, position by position")
	f.integer(&parallel, "--parallel", "windows that are decoded side by side, with a sparse cache", 16, 1)
	f.choice(&format, "-o, --output", "text|json", "how results are printed", "text")
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	if m.ctx > 0 && !f.given("--ctx") { // llama.cpp's name for it
		window = m.ctx
	}
	switch {
	case len(words) > 0:
		return usagef("perplexity: %q: the text goes behind -f", words[0])
	case f.given("-f") == f.given("--ids"):
		return usagef("perplexity: give -f TEXT or --ids IDS.json")
	case window < 4:
		return usagef("-c %d: want windows of 4 tokens or more", window)
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
	var text string
	var tokens []int32
	if ids != "" {
		tokens, err = readIDs(ctx, ids)
	} else {
		b, rerr := await(ctx, func() ([]byte, error) { return os.ReadFile(textFile) })
		text, err = textOf(textFile, b, rerr)
	}
	if err != nil {
		return err
	}

	m.ctx = window
	if !policy.Compacts() && !kl {
		parallel = 1
	}
	parallel = min(parallel, max(1, max(len(tokens), len(text)+2)/window)) // no text has more tokens than bytes, BOS and EOS aside
	l, err := m.load(e, file, func(s kvcache.Shape, n int) int64 {
		bytes := policy.Bytes(s, n)
		if kl {
			bytes += kvcache.Dense.Bytes(s, n)
		}
		return int64(parallel) * bytes
	})
	if err != nil {
		return err
	}
	defer l.close()
	o := eval.PerplexityOptions{Ctx: window, Policy: policy, KL: kl, BOS: -1, Parallel: parallel, Vocab: l.tok.Vocab()}
	if ids == "" {
		tokens = l.tok.Encode(text, true, false)
		if l.tok.AddBOS() {
			o.BOS = l.tok.BOS()
		}
	}
	if i := slices.IndexFunc(tokens, func(id int32) bool { return id < 0 || int(id) >= o.Vocab }); i >= 0 {
		return fmt.Errorf("--ids %s: entry %d is %d, the model has tokens 0 to %d", ids, i, tokens[i], o.Vocab-1)
	}
	if len(tokens) < window {
		return fmt.Errorf("the text has %d tokens, a window of %d needs as many: give a longer text, or a smaller --ctx", len(tokens), window)
	}
	bar := newProgress(e, "perplexity")
	o.Progress = bar.set
	r, err := eval.MeasurePerplexity(ctx, l.backend, l.model, tokens, o)
	bar.finish()
	if r.Tokens == 0 {
		return err
	}
	if err != nil {
		fmt.Fprintf(e.stderr, "mustafar: interrupted: what follows is of the first %d tokens\n", r.Tokens)
	}
	if format == "json" {
		if werr := writeJSON(e.stdout, newPerplexityJSON(r, window, policy)); err == nil {
			err = werr
		}
		return err
	}
	printPerplexity(e, r)
	printKV(e.stderr, r.Usage, policy)
	return err
}

// readIDs reads a JSON array of token ids.
func readIDs(ctx context.Context, path string) (ids []int32, err error) {
	b, err := await(ctx, func() ([]byte, error) { return os.ReadFile(path) })
	if err != nil {
		return nil, fmt.Errorf("--ids: %w", err)
	}
	if err := json.Unmarshal(b, &ids); err != nil {
		return nil, fmt.Errorf("--ids %s: want a JSON array of token ids: %w", path, err)
	}
	return ids, nil
}

type perplexityJSON struct {
	Tokens int     `json:"tokens"`
	NLL    float64 `json:"nll"`
	PPL    float64 `json:"ppl"`
	Ctx    int     `json:"ctx"`
	KV     kvJSON  `json:"kv"`
	*divergenceJSON
}

type divergenceJSON struct {
	Mean    float64      `json:"kl_mean"`
	StdErr  float64      `json:"kl_stderr"`
	Median  float64      `json:"kl_median"`
	P99     float64      `json:"kl_p99"`
	Max     float64      `json:"kl_max"`
	Top1    float64      `json:"top1"`
	Top5    float64      `json:"top5"`
	DPMean  float64      `json:"dp_mean"`
	DPRMS   float64      `json:"dp_rms"`
	Buckets []bucketJSON `json:"kl_by_position"`
}

type bucketJSON struct {
	From int     `json:"from"`
	To   int     `json:"to"`
	N    int     `json:"n"`
	Mean float64 `json:"kl_mean"`
}

func newPerplexityJSON(r eval.Perplexity, window int, p kvcache.Policy) perplexityJSON {
	j := perplexityJSON{Tokens: r.Tokens, NLL: r.NLL, PPL: r.PPL(), Ctx: window, KV: newKVJSON(r.Usage, p)}
	if d := r.KL; d != nil {
		j.divergenceJSON = &divergenceJSON{
			Mean: d.Mean, StdErr: d.StdErr, Median: d.Median, P99: d.P99, Max: d.Max,
			Top1: d.Top1, Top5: d.Top5, DPMean: d.DPMean, DPRMS: d.DPRMS,
		}
		for _, b := range d.Buckets {
			j.Buckets = append(j.Buckets, bucketJSON(b))
		}
	}
	return j
}

// printPerplexity prints the estimate in llama.cpp's words, and what is known of the divergence.
func printPerplexity(e *env, r eval.Perplexity) {
	out := func(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }
	if d := r.KL; d != nil {
		out("KL divergence from the dense cache, nats: mean %.6f ± %.6f, median %.6f, 99 %% %.4f, max %.4f", d.Mean, d.StdErr, d.Median, d.P99, d.Max)
		out("same most likely token: %.2f %%, among five: %.2f %%", 100*d.Top1, 100*d.Top5)
		out("change of the text's probability: mean %+.3f %%, RMS %.3f %%", 100*d.DPMean, 100*d.DPRMS)
		for _, b := range d.Buckets {
			out("  positions %5d to %5d: KL %.6f (%d tokens)", b.From, b.To-1, b.Mean, b.N)
		}
	}
	out("Final estimate: PPL = %.4f +/- %.5f", r.PPL(), r.PPL()*r.StdErr)
}
