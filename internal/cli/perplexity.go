package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"mustafar/internal/eval"
	"mustafar/kvcache"
)

// perplexityCommand measures how well a model with a cache predicts a text.
func perplexityCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("perplexity")
	var file, ids, output string
	var window, parallel int
	var kl bool
	f.in("Text")
	f.str(&file, "f,file", "FILE", "a text; BOS is set at each window's start where the model asks for it", "")
	f.str(&ids, "ids", "FILE", "a JSON array of token ids, taken as they are", "")
	f.integer(&window, "ctx", "tokens of a window; the second half of each is scored", 512)
	f.boolean(&kl, "kl", "compare with the dense cache, position by position")
	f.integer(&parallel, "parallel", "windows that are decoded side by side, with a sparse cache", 16)
	f.str(&output, "o,output", "text|json", "how results are printed", "text")
	m := addModelFlags(f)
	words, err := f.parse(e, args)
	if err != nil {
		return ignoreHelp(err)
	}
	if f.given("c", "ctx-size") { // llama.cpp's name for the window
		window = m.ctx
	}
	switch {
	case len(words) > 0:
		return usagef("perplexity: %q: the text goes behind -f", words[0])
	case (file == "") == (ids == ""):
		return usagef("perplexity: give -f TEXT or --ids IDS.json")
	case window < 4:
		return usagef("--ctx %d: want at least 4 tokens", window)
	case parallel < 1:
		return usagef("--parallel %d: want at least 1", parallel)
	case output != "text" && output != "json":
		return usagef("-o %q: want text or json", output)
	}
	policy, err := m.policy()
	if err != nil {
		return err
	}
	m.ctx = window
	policies := []kvcache.Policy{policy}
	if kl {
		policies = append(policies, kvcache.Dense)
	}
	l, err := m.open(e, policies...)
	if err != nil {
		return err
	}
	defer l.close()
	o := eval.PerplexityOptions{Ctx: window, Policy: policy, KL: kl, BOS: -1, Parallel: parallel, Vocab: l.tok.Vocab()}
	var tokens []int32
	if ids != "" {
		tokens, err = readIDs(ids, l.model.Vocab)
	} else {
		var text []byte
		if text, err = os.ReadFile(file); err == nil {
			tokens = l.tok.Encode(string(text), true, false)
			if l.tok.AddBOS() {
				o.BOS = l.tok.BOS()
			}
		}
	}
	if err != nil {
		return fmt.Errorf("perplexity: %w", err)
	}
	if len(tokens) < window {
		return fmt.Errorf("perplexity: the text has %d tokens, one window of --ctx %d needs as many", len(tokens), window)
	}
	bar := newProgress(e, "perplexity")
	o.Progress = bar.set
	r, err := eval.MeasurePerplexity(ctx, l.backend, l.model, tokens, o)
	bar.finish()
	if err != nil {
		return err
	}
	if output == "json" {
		return writeJSON(e.stdout, newPerplexityJSON(r, window, policy), "")
	}
	return printPerplexity(e, r, policy)
}

// readIDs reads a JSON array of token ids.
func readIDs(path string, vocab int) ([]int32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ids []int32
	if err := json.Unmarshal(b, &ids); err != nil {
		return nil, fmt.Errorf("%s: want a JSON array of token ids: %w", path, err)
	}
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("%s: entry %d is %d, the model has tokens 0 to %d", path, i, id, vocab-1)
		}
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
		j.divergenceJSON = &divergenceJSON{Mean: d.Mean, StdErr: d.StdErr, Median: d.Median, P99: d.P99, Max: d.Max,
			Top1: d.Top1, Top5: d.Top5, DPMean: d.DPMean, DPRMS: d.DPRMS}
		for _, b := range d.Buckets {
			j.Buckets = append(j.Buckets, bucketJSON(b))
		}
	}
	return j
}

func printPerplexity(e *env, r eval.Perplexity, p kvcache.Policy) error {
	out := func(w io.Writer, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	if d := r.KL; d != nil {
		out(e.stdout, "KL divergence from the dense cache, nats: mean %.6f ± %.6f, median %.6f, 99 %% %.4f, max %.4f", d.Mean, d.StdErr, d.Median, d.P99, d.Max)
		out(e.stdout, "same most likely token: %.2f %%, among five: %.2f %%", 100*d.Top1, 100*d.Top5)
		out(e.stdout, "change of the text's probability: mean %+.3f %%, RMS %.3f %%", 100*d.DPMean, 100*d.DPRMS)
		for _, b := range d.Buckets {
			out(e.stdout, "  positions %5d to %5d: KL %.6f (%d tokens)", b.From, b.To-1, b.Mean, b.N)
		}
	}
	ppl := r.PPL()
	out(e.stderr, "Final estimate: PPL = %.4f +/- %.5f", ppl, ppl*r.StdErr)
	out(e.stderr, "mustafar_perf: kv = %s of %s dense (ratio %.3f, K %v V %v)", mib(r.Usage.Bytes), mib(r.Usage.Dense), r.Usage.Ratio(), p.K, p.V)
	return nil
}
