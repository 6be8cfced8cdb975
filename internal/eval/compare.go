package eval

import (
	"context"

	"mustafar/internal/generate"
	"mustafar/internal/sample"
	"mustafar/kvcache"
)

// Compared is what became of a prompt under one cache.
type Compared struct {
	Name   string
	Policy kvcache.Policy
	generate.Result
	Usage kvcache.Usage
	KL    *Divergence // from the first cache, along its answer; nil for the first, and where that answer is empty
	Parts int         // first token that differs from the first cache's answer; below 0: none
}

// CompareOptions say what is compared. The first cache is the reference: the dense one, for figures that mean what DESIGN says.
type CompareOptions struct {
	Names    []string
	Policies []kvcache.Policy
	Prompt   []int32
	Max      int // tokens of an answer
	NewLoop  func(kvcache.Policy) *generate.Loop
	Begin    func(name string) // a cache's turn begins
	Emit     func(text string)
	Progress func(done, total int)
	End      func() // its answer is complete, or given up
}

// Compare answers the prompt greedily under every cache, and follows each along the first one's answer to measure how far their predictions part.
// An interrupted comparison returns what is complete, and ctx's error.
func Compare(ctx context.Context, o CompareOptions) ([]Compared, error) {
	var all []Compared
	var reference *answered
	for i, p := range o.Policies {
		o.Begin(o.Names[i])
		a, err := o.answer(ctx, p)
		o.End()
		if err != nil {
			return all, err
		}
		c := Compared{Name: o.Names[i], Policy: p, Result: a.result, Usage: a.usage, Parts: -1}
		if reference == nil {
			reference = a
			defer a.loop.Cache.Drop(a.prompt)
		} else {
			c.Parts = parts(reference.result.Tokens, a.result.Tokens)
			if c.KL, err = follow(ctx, reference, a, reference.result.Tokens); err != nil {
				return all, err
			}
			a.loop.Cache.Drop(a.prompt)
		}
		all = append(all, c)
	}
	return all, nil
}

// answered is an answer, and the cache as it was behind the prompt.
type answered struct {
	loop   *generate.Loop
	prompt kvcache.Seq
	result generate.Result
	usage  kvcache.Usage
}

func (o CompareOptions) answer(ctx context.Context, p kvcache.Policy) (*answered, error) {
	a := &answered{loop: o.NewLoop(p)}
	greedy := sample.Default()
	greedy.Temp = 0
	sampler, err := sample.New(greedy, a.loop.Tokenizer.Vocab())
	if err != nil {
		return nil, err
	}
	seq, peak := a.loop.Cache.NewSeq(), int64(0)
	job, err := a.loop.Add(generate.Request{
		Seq: seq, Prompt: o.Prompt, Sampler: sampler, Max: o.Max, Emit: o.Emit, Progress: o.Progress,
		Prompted: func() {
			peak = a.loop.Cache.Usage().Peak
			a.prompt = a.loop.Cache.Fork(seq, len(o.Prompt))
		},
	})
	if err != nil {
		return nil, err
	}
	if err := a.loop.Run(ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.result = job.Result
	a.usage = a.loop.Cache.UsageOf(seq)
	a.usage.Peak = max(peak, a.usage.Bytes) // the copy of the prompt's cache is the comparison's, not the run's
	a.loop.Cache.Drop(seq)
	return a, nil
}

// parts returns the first place where two texts differ, -1 if they do not.
func parts(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// follow decodes the same tokens behind both prompts and compares the predictions after each.
func follow(ctx context.Context, a, b *answered, tokens []int32) (*Divergence, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	d := &Divergence{}
	sa, sb := forked(a), forked(b)
	defer a.loop.Cache.Drop(sa)
	defer b.loop.Cache.Drop(sb)
	var ra, rb rows
	vocab := a.loop.Tokenizer.Vocab()
	for i, token := range tokens {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, x := range []struct {
			a    *answered
			seq  kvcache.Seq
			rows *rows
		}{{a, sa, &ra}, {b, sb, &rb}} {
			var batch kvcache.Batch
			batch.Step(x.seq, x.a.loop.Cache.Len(x.seq), token)
			if err := x.rows.read(x.a.loop.Backend, x.a.loop.Model.Forward(x.a.loop.Cache, &batch), vocab); err != nil {
				return nil, err
			}
		}
		next := int32(-1)
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		if err := d.add(i, ra.row(0), rb.row(0), next); err != nil {
			return nil, err
		}
	}
	d.finish()
	return d, nil
}

func forked(a *answered) kvcache.Seq { return a.loop.Cache.Fork(a.prompt, a.loop.Cache.Len(a.prompt)) }
