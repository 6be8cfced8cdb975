package eval

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/gguf/synth"
	"mustafar/internal/generate"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/model/tokenizer"
	"mustafar/sparse"
)

// bench is a small random model on its backend; activations stay in f32, so that no rounding depends on how rows are cut.
type bench struct {
	t   *testing.T
	cpu *cpu.CPU
	m   *model.Model
	tok *tokenizer.Tokenizer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	var made bytes.Buffer
	m := synth.Model{Layers: 2, Embd: 128, FF: 192, Heads: 2, KVHeads: 1, Vocab: 300, OwnOutput: true, Seed: 5, Type: gguf.F16}
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := errors.Join(m.Write(&made), os.WriteFile(path, made.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	x := &bench{t: t}
	if x.cpu, err = cpu.New(cpu.Options{Threads: 2, F32: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.cpu.Close() })
	if x.m, err = model.Load(f, x.cpu, nil); err != nil {
		t.Fatal(err)
	}
	if x.tok, err = tokenizer.New(f); err != nil {
		t.Fatal(err)
	}
	return x
}

func ids(n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(3 + i*i*7%297)
	}
	return x
}

func (x *bench) perplexity(ids []int32, o PerplexityOptions) Perplexity {
	x.t.Helper()
	o.Vocab = x.tok.Vocab()
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	r, err := MeasurePerplexity(x.t.Context(), x.cpu, x.m, ids, o)
	if err != nil {
		x.t.Fatal(err)
	}
	return r
}

// losses decodes one window token by token and returns what each token from the second on costs: what MeasurePerplexity must add up.
func (x *bench) losses(window []int32, p kvcache.Policy) (losses []float64) {
	x.t.Helper()
	cache := x.m.NewCache(p)
	seq := cache.NewSeq()
	defer cache.Drop(seq)
	row := make([]float32, x.m.Vocab)
	for i, id := range window[:len(window)-1] {
		var batch kvcache.Batch
		batch.Step(seq, i, id)
		if err := x.cpu.Read(row, x.m.Forward(cache, &batch)); err != nil {
			x.t.Fatal(err)
		}
		sum := 0.0
		for _, v := range row[:x.tok.Vocab()] {
			sum += math.Exp(float64(v))
		}
		losses = append(losses, math.Log(sum)-float64(row[window[i+1]]))
	}
	return losses
}

func pruned(values sparse.Values, window int) kvcache.Policy {
	p := kvcache.Pruned(0.7, values)
	p.Group, p.Window = 64, window
	return p
}

// The windows stand one after the other, a rest is left out, and of each the tokens behind its middle are scored: ctx/2 - 1 of an even one.
func TestPerplexityWindows(t *testing.T) {
	x := newBench(t)
	tests := []struct{ ids, ctx, scored int }{
		{4, 4, 1}, {7, 4, 1}, {8, 4, 2}, {100, 10, 40}, {109, 10, 40}, {35, 7, 15}, {200, 100, 98},
	}
	for _, tt := range tests {
		text := ids(tt.ids)
		for _, policy := range []kvcache.Policy{kvcache.Dense, pruned(sparse.I8, 0)} {
			var want float64
			for at := 0; at+tt.ctx <= len(text); at += tt.ctx {
				for _, loss := range x.losses(text[at:at+tt.ctx], policy)[tt.ctx/2:] {
					want += loss / float64(tt.scored)
				}
			}
			r := x.perplexity(text, PerplexityOptions{Ctx: tt.ctx, Policy: policy, BOS: -1})
			if r.Tokens != tt.scored || math.Abs(r.NLL-want) > 1e-4 { // prefill and decoding round differently
				t.Errorf("%d ids, windows of %d: %d tokens of %.6f nats, want %d of %.6f", tt.ids, tt.ctx, r.Tokens, r.NLL, tt.scored, want)
			}
			if ppl := r.PPL(); math.Abs(ppl-math.Exp(r.NLL)) > 1e-9*ppl {
				t.Errorf("perplexity %v of %v nats", ppl, r.NLL)
			}
		}
	}
}

// How many windows pass side by side changes no logit, for decoding is batch-invariant, and nothing of what a window holds.
func TestPerplexitySideBySide(t *testing.T) {
	x := newBench(t)
	o := PerplexityOptions{Ctx: 150, Policy: pruned(sparse.I4, 16), BOS: -1, Parallel: 1, KL: true}
	one := x.perplexity(ids(750), o)
	for _, n := range []int{2, 5, 16} {
		o.Parallel = n
		r := x.perplexity(ids(750), o)
		const order = 1e-12 // of the sums over tokens
		if math.Abs(r.NLL-one.NLL) > order || math.Abs(r.KL.Mean-one.KL.Mean) > order || r.KL.Max != one.KL.Max || r.Usage.Bytes != one.Usage.Bytes || r.Usage.Peak != one.Usage.Peak {
			t.Errorf("%d windows side by side: %v nats, KL %v, %+v; one by one %v, %v, %+v", n, r.NLL, r.KL.Mean, r.Usage, one.NLL, one.KL.Mean, one.Usage)
		}
	}
	if one.KL.Mean <= 0 || one.Tokens != 5*74 {
		t.Errorf("KL %v over %d tokens", one.KL.Mean, one.Tokens)
	}
	// 149 tokens, 4 sinks: ⌊(149-4-16)/64⌋ = 2 groups, rows of 8 + 10 + 2 bytes; 21 rows of fp16; two layers of K and V
	if want := int64(2 * 2 * (128*20 + 21*128)); one.Usage.Bytes != want {
		t.Errorf("a window holds %d bytes, want %d", one.Usage.Bytes, want)
	}
}

// With --kl the dense cache's own divergence is nil, and a sparse one's losses are what they are without.
func TestPerplexityKL(t *testing.T) {
	x := newBench(t)
	text := ids(300)
	dense := x.perplexity(text, PerplexityOptions{Ctx: 150, Policy: kvcache.Dense, BOS: -1, KL: true})
	if d := dense.KL; d.Max != 0 || d.Top1 != 1 || d.Top5 != 1 || d.DPRMS != 0 {
		t.Errorf("the dense cache from itself: %+v", d)
	}
	policy := pruned(sparse.F16, 0)
	with, without := x.perplexity(text, PerplexityOptions{Ctx: 150, Policy: policy, BOS: -1, KL: true}), x.perplexity(text, PerplexityOptions{Ctx: 150, Policy: policy, BOS: -1})
	if with.NLL != without.NLL || without.KL != nil {
		t.Errorf("%v nats with divergence, %v without", with.NLL, without.NLL)
	}
	if n := with.KL.Buckets[0].N + with.KL.Buckets[1].N + with.KL.Buckets[2].N + with.KL.Buckets[3].N; n != with.Tokens {
		t.Errorf("buckets of %d tokens, want %d", n, with.Tokens)
	}
	// the mean change of probability is what the losses say, token by token
	change := 0.0
	for at := 0; at < 300; at += 150 {
		a, b := x.losses(text[at:at+150], kvcache.Dense)[75:], x.losses(text[at:at+150], policy)[75:]
		for i := range a {
			change += (math.Exp(-b[i]) - math.Exp(-a[i])) / float64(with.Tokens)
		}
	}
	if math.Abs(change-with.KL.DPMean) > 1e-6 {
		t.Errorf("mean change of probability %v, want %v", with.KL.DPMean, change)
	}
}

// BOS takes the place of a window's first token.
func TestPerplexityBOS(t *testing.T) {
	x := newBench(t)
	text := ids(40)
	with := x.perplexity(text, PerplexityOptions{Ctx: 20, Policy: kvcache.Dense, BOS: 1})
	replaced := append([]int32(nil), text...)
	replaced[0], replaced[20] = 1, 1
	by := x.perplexity(replaced, PerplexityOptions{Ctx: 20, Policy: kvcache.Dense, BOS: -1})
	if with.NLL != by.NLL {
		t.Errorf("%v nats, want %v", with.NLL, by.NLL)
	}
	if text[0] == 1 || text[20] == 1 {
		t.Error("the caller's ids were changed")
	}
}

func TestPerplexityInterrupted(t *testing.T) {
	x := newBench(t)
	for _, policy := range []kvcache.Policy{kvcache.Dense, pruned(sparse.I8, 0)} {
		ctx, cancel := context.WithCancel(t.Context())
		last := 0
		r, err := MeasurePerplexity(ctx, x.cpu, x.m, ids(800), PerplexityOptions{
			Ctx: 80, Policy: policy, BOS: -1, Parallel: 2, Vocab: x.tok.Vocab(),
			Progress: func(done, total int) {
				if total != 800 || done < last {
					t.Errorf("%d of %d, after %d", done, total, last)
				}
				if last = done; done > 400 {
					cancel()
				}
			},
		})
		if !errors.Is(err, context.Canceled) || r.Tokens < 100 || r.Tokens > 300 || r.NLL <= 0 {
			t.Errorf("%v, %d tokens of %v nats: want what was measured until then", err, r.Tokens, r.NLL)
		}
	}
}

// compare runs Compare and notes whose turn began. No cache may hold anything afterwards: its memory is not the garbage collector's.
func (x *bench) compare(ctx context.Context, n int, policies ...kvcache.Policy) (results []Compared, begun []string, err error) {
	x.t.Helper()
	var caches []*kvcache.Cache
	o := CompareOptions{
		Policies: policies, Prompt: ids(200), Max: n,
		NewLoop: func(p kvcache.Policy) *generate.Loop {
			caches = append(caches, x.m.NewCache(p))
			return &generate.Loop{Backend: x.cpu, Model: x.m, Tokenizer: x.tok, Cache: caches[len(caches)-1], Chunk: 64, Ctx: 512}
		},
		Begin: func(name string) { begun = append(begun, name) }, End: func() {},
	}
	for i := range policies {
		o.Names = append(o.Names, string(rune('a'+i)))
	}
	results, err = Compare(ctx, o)
	for i, c := range caches {
		if u := c.Usage(); u.Bytes != 0 {
			x.t.Errorf("cache %d still holds %d bytes", i, u.Bytes)
		}
	}
	return results, begun, err
}

func TestCompare(t *testing.T) {
	x := newBench(t)
	dense := kvcache.Dense
	results, begun, err := x.compare(t.Context(), 24, dense, dense, pruned(sparse.I4, 0))
	if err != nil || len(results) != 3 || len(begun) != 3 {
		t.Fatalf("%d results, begun %q, %v", len(results), begun, err)
	}
	first, same, other := results[0], results[1], results[2]
	if first.KL != nil || first.Parts >= 0 {
		t.Errorf("the reference is compared with itself: %+v", first)
	}
	if same.KL.Max != 0 || same.KL.Top1 != 1 || same.Parts >= 0 || same.Text != first.Text {
		t.Errorf("the same cache: %+v, parts at %d", same.KL, same.Parts)
	}
	if other.KL.Mean <= 0 || other.Usage.Bytes >= first.Usage.Bytes || other.Usage.Dense != first.Usage.Dense {
		t.Errorf("the sparse cache: KL %v, %+v, dense %+v", other.KL.Mean, other.Usage, first.Usage)
	}
	if want := parts(first.Tokens, other.Tokens); other.Parts != want {
		t.Errorf("the answers part at %d, want %d", other.Parts, want)
	}
	// 200 tokens of prompt and 23 that were decoded, of 2 layers of K and V of 64 in fp16
	if want := int64(223 * 2 * 2 * 128); first.Usage.Bytes != want || first.Usage.Peak < want {
		t.Errorf("the dense cache holds %d bytes, %d at its peak, want %d", first.Usage.Bytes, first.Usage.Peak, want)
	}
}

func TestCompareInterrupted(t *testing.T) {
	x := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, begun, err := x.compare(ctx, 4, kvcache.Dense, kvcache.Dense)
	if !errors.Is(err, context.Canceled) || len(results) != 0 || len(begun) != 1 {
		t.Errorf("%d results, begun %q, %v: want none", len(results), begun, err)
	}
}

func TestParts(t *testing.T) {
	tests := []struct {
		a, b []int32
		want int
	}{
		{nil, nil, -1}, {[]int32{1, 2}, []int32{1, 2}, -1}, {[]int32{1, 2}, []int32{1, 3}, 1}, {[]int32{1}, []int32{1, 3}, 1}, {[]int32{1, 2}, nil, 0},
	}
	for _, tt := range tests {
		if got := parts(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v part at %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
