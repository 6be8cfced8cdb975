package model

import (
	"mustafar/backend"
	"mustafar/kvcache"
)

// Prefill is a prompt on its way through the model, one step at a time, so that decode steps of other sequences can pass in between.
//
// Exact, the prompt goes layer by layer: all its chunks pass a layer, each seeing the prompt's K and V dense; then the layer is compressed and its
// dense rows are freed. So the logits are exact and at most one layer is ever dense. The price is the hidden states of the whole prompt, (tokens, embd).
// Streaming, the prompt goes chunk by chunk through all layers, and every token sees the cache that it would see when decoding.
type Prefill struct {
	m      *Model
	c      *kvcache.Cache
	seq    kvcache.Seq
	tokens []int32
	chunk  int

	pos0   int            // position of the first token
	at     int            // next token
	l      int            // exact: the layer it passes
	res    backend.Tensor // exact: hidden states of all tokens
	batch  kvcache.Batch
	logits backend.Tensor
	done   bool
}

// NewPrefill starts the prompt behind what seq holds, at most chunk tokens a step. There must be a token.
func (m *Model) NewPrefill(c *kvcache.Cache, seq kvcache.Seq, tokens []int32, chunk int) *Prefill {
	p := &Prefill{m: m, c: c, seq: seq, tokens: tokens, chunk: chunk, pos0: c.Len(seq)}
	if !c.Policy().Streaming && len(tokens) > chunk {
		p.res = m.b.Alloc(len(tokens), m.Embd)
		c.Hold(p.resBytes())
	}
	return p
}

func (p *Prefill) resBytes() int64 { return 4 * int64(len(p.tokens)) * int64(p.m.Embd) }

// Progress returns how much of the work is done, in tokens: of Total.
func (p *Prefill) Progress() int {
	if p.done {
		return len(p.tokens)
	}
	if p.exact() {
		return (p.l*len(p.tokens) + p.at) / p.m.Layers
	}
	return p.at
}

// Total is the number of tokens.
func (p *Prefill) Total() int { return len(p.tokens) }

// exact reports whether the prompt passes layer by layer; one of a single chunk passes all layers in one step, to the same effect.
func (p *Prefill) exact() bool { return p.res.Buf != nil }

// Step does the next chunk and reports whether the prompt has passed. A failure of the device shows when logits are read.
func (p *Prefill) Step() (done bool) {
	n := min(p.chunk, len(p.tokens)-p.at)
	if p.c.Policy().Streaming {
		n = min(n, p.c.Room(p.seq))
	}
	p.batch.Reset()
	p.batch.Prompt(p.seq, p.pos0+p.at, p.tokens[p.at:p.at+n]...)
	last := p.at+n == len(p.tokens)
	if p.exact() {
		p.passLayer(last)
	} else {
		if last {
			p.batch.WantLast()
		}
		p.logits = p.m.Forward(p.c, &p.batch)
		p.at += n
		p.done = last
	}
	return p.done
}

// passLayer passes the batch through the layer; after a layer's last chunk it seals the layer and goes on to the next.
func (p *Prefill) passLayer(last bool) {
	m, n := p.m, len(p.batch.Tokens)
	x := m.activations(n)
	x.res = p.res.Range(p.at, p.at+n)
	if p.l == 0 {
		m.b.Embed(x.res, m.w.embed, p.batch.Tokens)
	}
	m.layer(p.l, x, p.c, &p.batch)
	p.at += n
	if !last {
		return
	}
	p.c.Seal(&p.batch, p.l)
	p.at = 0
	if p.l++; p.l < m.Layers {
		return
	}
	p.c.Commit(&p.batch)
	p.logits = m.logits(p.res, []int{len(p.tokens) - 1})
	p.free()
	p.done = true
}

// Logits returns the scores of the token after the prompt, (1, Vocab), once Step has reported done; valid until the model is used again.
func (p *Prefill) Logits() backend.Tensor { return p.logits }

// Abort gives a prompt up. What it left in some of the layers is taken back; what a streaming prompt has passed stays in the sequence.
func (p *Prefill) Abort() {
	if !p.done {
		p.c.Abort(p.seq)
		p.free()
		p.done = true
	}
}

func (p *Prefill) free() {
	if p.exact() {
		p.m.b.Free(p.res)
		p.c.Hold(-p.resBytes())
		p.res = backend.Tensor{}
	}
}
