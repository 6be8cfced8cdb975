// Package eval measures what a cache costs in quality: perplexity, and the divergence of a sparse cache from the dense one.
package eval

import (
	"context"
	"errors"
	"math"

	"mustafar/backend"
	"mustafar/kvcache"
	"mustafar/model"
)

// PerplexityOptions choose the windows and the caches.
type PerplexityOptions struct {
	Ctx      int                   // tokens of a window; the second half of each is scored
	Policy   kvcache.Policy        // of the cache
	KL       bool                  // also compare with the dense cache, position by position
	BOS      int32                 // put in place of a window's first token; below 0: none
	Parallel int                   // windows that are decoded side by side
	Vocab    int                   // tokens that have a meaning; a padded vocabulary has more rows
	Progress func(done, total int) // in tokens; may be nil
}

// Perplexity is how well a model with some cache predicts text.
type Perplexity struct {
	Tokens int           // scored
	NLL    float64       // nats a token
	StdErr float64       // of NLL
	Usage  kvcache.Usage // of one window at its end
	KL     *Divergence   // nil without PerplexityOptions.KL
}

// PPL is exp(NLL).
func (p Perplexity) PPL() float64 { return math.Exp(p.NLL) }

// MeasurePerplexity takes windows of Ctx tokens one after the other and scores the second half of each, as llama.cpp does. With a sparse cache every
// token sees the cache it would see when decoding: the windows are sequences that are decoded in parallel, their first halves too. The dense cache
// passes them as prompts. Cancelling ctx ends it with ctx's error and what was measured so far.
func MeasurePerplexity(ctx context.Context, b backend.Backend, m *model.Model, ids []int32, o PerplexityOptions) (Perplexity, error) {
	r := perplexityRun{b: b, m: m, o: o, ctx: ctx, total: len(ids) / o.Ctx * o.Ctx}
	if o.KL {
		r.kl = &Divergence{}
	}
	for at := 0; at+o.Ctx <= len(ids); {
		var windows [][]int32
		for ; len(windows) < o.Parallel && at+o.Ctx <= len(ids); at += o.Ctx {
			w := append([]int32(nil), ids[at:at+o.Ctx]...)
			if o.BOS >= 0 {
				w[0] = o.BOS
			}
			windows = append(windows, w)
		}
		measure := r.decode
		if !o.Policy.Compacts() && !o.KL {
			measure = r.prompt
		}
		switch err := measure(windows); {
		case err != nil && err == ctx.Err():
			return r.result(), err
		case err != nil:
			return Perplexity{}, err
		}
	}
	return r.result(), nil
}

type perplexityRun struct {
	ctx     context.Context
	b       backend.Backend
	m       *model.Model
	o       PerplexityOptions
	losses  []float64
	kl      *Divergence
	usage   kvcache.Usage
	done    int
	total   int
	a, base rows
}

func (r *perplexityRun) result() Perplexity {
	mean, stderr := meanError(r.losses)
	p := Perplexity{Tokens: len(r.losses), NLL: mean, StdErr: stderr, Usage: r.usage, KL: r.kl}
	if r.kl != nil {
		r.kl.finish()
	}
	return p
}

func (r *perplexityRun) advance(n int) {
	r.done += n
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.total)
	}
}

// scored reports whether what follows position i of a window is scored.
func (r *perplexityRun) scored(i int) bool { return i >= r.o.Ctx/2 && i+1 < r.o.Ctx }

// decode takes the windows token by token, all at once, and beside them, for KL, the same with the dense cache.
func (r *perplexityRun) decode(windows [][]int32) error {
	sparse := newDecoder(r.m, r.o.Policy, len(windows))
	defer sparse.drop()
	var dense *decoder
	if r.o.KL {
		dense = newDecoder(r.m, kvcache.Dense, len(windows))
		defer dense.drop()
	}
	for i := range r.o.Ctx - 1 { // the last token has none to predict
		if err := r.ctx.Err(); err != nil {
			return err
		}
		wanted := r.scored(i)
		if dense != nil {
			logits := dense.step(windows, i, wanted)
			if err := r.base.read(r.b, logits, r.o.Vocab); err != nil {
				return err
			}
		}
		if err := r.a.read(r.b, sparse.step(windows, i, wanted), r.o.Vocab); err != nil {
			return err
		}
		if wanted {
			for k, w := range windows {
				row := r.a.row(k)
				if err := r.score(row, w[i+1]); err != nil {
					return err
				}
				if dense != nil {
					if err := r.kl.add(i, r.base.row(k), row, w[i+1]); err != nil {
						return err
					}
				}
			}
		}
		r.noteUsage(sparse.cache, sparse.seqs[0], len(windows))
		r.advance(len(windows))
	}
	r.advance(len(windows))
	return nil
}

// score adds the loss of one prediction.
func (r *perplexityRun) score(logits []float32, token int32) error {
	loss := nll(logits, token)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return errNotFinite
	}
	r.losses = append(r.losses, loss)
	return nil
}

var errNotFinite = errors.New("eval: the logits are not finite: the model file is damaged or the computation overflowed")

// noteUsage keeps what one of n windows holds that are as far.
func (r *perplexityRun) noteUsage(c *kvcache.Cache, window kvcache.Seq, n int) {
	r.usage = c.UsageOf(window)
	r.usage.Peak /= int64(n)
	r.usage.Allocated /= int64(n)
}

// decoder decodes windows side by side.
type decoder struct {
	m     *model.Model
	cache *kvcache.Cache
	seqs  []kvcache.Seq
	batch kvcache.Batch
}

func newDecoder(m *model.Model, p kvcache.Policy, n int) *decoder {
	d := &decoder{m: m, cache: m.NewCache(p)}
	for range n {
		d.seqs = append(d.seqs, d.cache.NewSeq())
	}
	return d
}

// step decodes token i of every window and returns the logits of what follows, if they are wanted.
func (d *decoder) step(windows [][]int32, i int, wanted bool) backend.Tensor {
	d.batch.Reset()
	for k, w := range windows {
		d.batch.Step(d.seqs[k], i, w[i])
	}
	if !wanted {
		d.batch.Wants = d.batch.Wants[:0]
	}
	return d.m.Forward(d.cache, &d.batch)
}

func (d *decoder) drop() {
	for _, s := range d.seqs {
		d.cache.Drop(s)
	}
}

// prompt passes each window as a prompt, in chunks, and scores its second half.
func (r *perplexityRun) prompt(windows [][]int32) error {
	const chunk = 64 // the logits of a chunk are held at once
	cache := r.m.NewCache(r.o.Policy)
	for _, w := range windows {
		seq := cache.NewSeq()
		var batch kvcache.Batch
		for at := 0; at < r.o.Ctx; at += chunk {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			n := min(chunk, r.o.Ctx-at)
			batch.Reset()
			batch.Prompt(seq, at, w[at:at+n]...)
			for i := range n {
				if r.scored(at + i) {
					batch.Wants = append(batch.Wants, i)
				}
			}
			if err := r.a.read(r.b, r.m.Forward(cache, &batch), r.o.Vocab); err != nil {
				return err
			}
			for k, i := range batch.Wants {
				if err := r.score(r.a.row(k), w[at+i+1]); err != nil {
					return err
				}
			}
			r.noteUsage(cache, seq, 1)
			r.advance(n)
		}
		cache.Drop(seq)
	}
	return nil
}

// rows are logits read from a backend.
type rows struct {
	f           []float32
	cols, vocab int
}

func (r *rows) read(b backend.Backend, t backend.Tensor, vocab int) error {
	if t.Rows == 0 { // nothing was wanted
		return nil
	}
	if n := t.Rows * t.Cols; cap(r.f) < n {
		r.f = make([]float32, n)
	} else {
		r.f = r.f[:n]
	}
	r.cols, r.vocab = t.Cols, vocab
	return b.Read(r.f, t)
}

func (r *rows) row(i int) []float32 { return r.f[i*r.cols:][:r.vocab] }

// nll is -ln of the probability that the logits give a token.
func nll(logits []float32, token int32) float64 { return logSum(logits) - float64(logits[token]) }

// logSum is ln Σ exp(x).
func logSum(x []float32) float64 {
	top := x[0]
	for _, v := range x {
		top = max(top, v)
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v - top))
	}
	return math.Log(sum) + float64(top)
}

// meanError returns the mean of x and its standard error.
func meanError(x []float64) (mean, stderr float64) {
	if len(x) == 0 {
		return 0, 0
	}
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	square := 0.0
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	if len(x) > 1 {
		stderr = math.Sqrt(square / float64(len(x)-1) / float64(len(x)))
	}
	return mean, stderr
}
