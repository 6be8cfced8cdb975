// Package bench times prompts and decode steps at depths and beside each other, as llama-bench and its batched sister do, and the operations of a
// backend against the roofline that it measures first.
package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"mustafar/backend"
	"mustafar/kvcache"
	"mustafar/model"
)

// Case is one test: a prompt of Prompt tokens, or Gen decode steps, behind Depth tokens, in each of Parallel sequences.
type Case struct {
	Prompt, Gen, Depth, Parallel int
	Policy                       kvcache.Policy
}

// Name is what llama-bench calls the test: pp512, tg128 @ d4096; with sequences beside each other, tg128 × 8.
func (c Case) Name() string {
	name := fmt.Sprintf("tg%d", c.Gen)
	if c.Prompt > 0 {
		name = fmt.Sprintf("pp%d", c.Prompt)
	}
	if c.Parallel > 1 {
		name += fmt.Sprintf(" × %d", c.Parallel)
	}
	if c.Depth > 0 {
		name += fmt.Sprintf(" @ d%d", c.Depth)
	}
	return name
}

// Result is the speed of a case over all its sequences.
type Result struct {
	Case
	Seconds []float64     // a repeat
	KV      kvcache.Usage // at the end of a repeat
}

// Tokens is what a repeat works through.
func (r Result) Tokens() int { return (r.Prompt + r.Gen) * r.Parallel }

// Rates are tokens a second, a repeat.
func (r Result) Rates() []float64 {
	rates := make([]float64, len(r.Seconds))
	for i, s := range r.Seconds {
		rates[i] = float64(r.Tokens()) / s
	}
	return rates
}

// Mean returns the mean and the standard deviation of samples, Median the one in the middle.
func Mean(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	if len(x) > 1 {
		deviation = math.Sqrt(deviation / float64(len(x)-1))
	}
	return mean, deviation
}

// Median is the sample in the middle, of an even number the mean of two.
func Median(x []float64) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Options of a run.
type Options struct {
	Backend  backend.Backend
	Model    *model.Model
	Chunk    int // tokens of a prompt that pass at once
	Repeats  int
	Progress func(done, total int) // of the tokens of one case; may be nil
}

// Run times a case, after one repeat that is not counted. The sequences' depth is passed once, and every repeat begins from there.
func (o Options) Run(ctx context.Context, c Case) (Result, error) {
	r := runner{Options: o, Case: c, ctx: ctx, cache: o.Model.NewCache(c.Policy), total: c.Parallel * c.Depth}
	result := Result{Case: c}
	for i := range c.Parallel {
		s := r.cache.NewSeq()
		if err := r.prompt(s, tokens(i, c.Depth, o.Model.Vocab)); err != nil {
			return result, err
		}
		r.cache.Mark(s)
		r.seqs = append(r.seqs, s)
	}
	for i := range o.Repeats + 1 {
		if i > 0 {
			for _, s := range r.seqs {
				r.cache.Rewind(s)
			}
		}
		start := time.Now()
		if err := r.repeat(); err != nil {
			return result, err
		}
		if i > 0 {
			result.Seconds = append(result.Seconds, time.Since(start).Seconds())
		}
	}
	for _, s := range r.seqs {
		u := r.cache.UsageOf(s)
		result.KV.Tokens += u.Tokens
		result.KV.Compressed += u.Compressed
		result.KV.Bytes += u.Bytes
		result.KV.Dense += u.Dense
		r.cache.Drop(s)
	}
	return result, nil
}

type runner struct {
	Options
	Case
	ctx         context.Context
	cache       *kvcache.Cache
	seqs        []kvcache.Seq
	batch       kvcache.Batch
	logits      []float32
	done, total int
}

// tokens are n that differ from sequence to sequence: what they say does not matter to the time.
func tokens(seq, n, vocab int) []int32 {
	t := make([]int32, n)
	for i := range t {
		t[i] = int32((i*7919 + 13 + 101*seq) % vocab)
	}
	return t
}

// repeat does what is timed.
func (r *runner) repeat() error {
	for i, s := range r.seqs {
		if err := r.prompt(s, tokens(i, r.Prompt, r.Model.Vocab)); err != nil {
			return err
		}
	}
	for i := range r.Gen {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		r.batch.Reset()
		for k, s := range r.seqs {
			r.batch.Step(s, r.cache.Len(s), int32((i*31+k)%r.Model.Vocab))
		}
		if err := r.read(r.Model.Forward(r.cache, &r.batch)); err != nil {
			return err
		}
	}
	return nil
}

// prompt passes tokens behind what the sequence holds.
func (r *runner) prompt(s kvcache.Seq, t []int32) error {
	if len(t) == 0 {
		return nil
	}
	p := r.Model.NewPrefill(r.cache, s, t, r.Chunk)
	for before := 0; !p.Step(); {
		if err := r.ctx.Err(); err != nil {
			p.Abort()
			return err
		}
		if r.Progress != nil && r.done < r.total {
			r.done += p.Progress() - before
			before = p.Progress()
			r.Progress(min(r.done, r.total), r.total)
		}
	}
	return r.read(p.Logits())
}

func (r *runner) read(t backend.Tensor) error {
	if n := t.Rows * t.Cols; len(r.logits) < n {
		r.logits = make([]float32, n)
	}
	return r.Backend.Read(r.logits[:t.Rows*t.Cols], t)
}
