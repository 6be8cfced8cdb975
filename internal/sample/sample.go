// Package sample turns one row of logits into the next token, with llama.cpp's samplers, their meaning, defaults and order.
//
//	logits ─ bias ─ penalties ─ dry ─ top_n_sigma ─ top_k ─ typ_p ─ top_p ─ min_p ─ xtc ─ temperature ─→ candidates ─ draw ─→ token
//
// Params.Samplers may name them in any other order. The draw at a position depends on the seed and the position alone, so the
// next token is a function of logits, accepted tokens and seed: going back to a position and going on from a saved text both
// continue exactly as before. llama.cpp draws from a Mersenne twister; the same seed gives other tokens there.
package sample

import (
	"fmt"
	"math/rand/v2"
)

// A Sampler chooses the tokens of one sequence. It is not safe for concurrent use.
type Sampler struct {
	p     Params
	vocab int
	seed  int64
	chain []*kind // the samplers that do something, in order
	topK  int     // see TopK

	history []int32         // every accepted token: Len is the position of the next one
	counts  map[int32]int32 // how often a token stands in the penalties' window; nil where there are no penalties
	dry     dryState

	c candidates // scratch of one call
}

// New returns a sampler for rows of vocab logits. It keeps p's slices and maps.
func New(p Params, vocab int) (*Sampler, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for id := range p.LogitBias {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("--logit-bias %d: want a token from 0 to %d", id, vocab-1)
		}
	}
	s := &Sampler{p: p, vocab: vocab}
	for _, name := range p.Samplers {
		if k := kindOf(name); k.on(&s.p) {
			s.chain = append(s.chain, k)
		}
	}
	s.topK = min(enough(&s.p, s.chain), vocab)
	if penaltiesOn(&s.p) {
		s.counts = map[int32]int32{}
	}
	s.dry.init(&s.p)
	s.Reseed(p.Seed)
	return s, nil
}

// Sample returns the next token for a row of vocab logits, which it leaves as they are. It does not accept the token: the same
// call again gives the same token. Of equal logits the lower token is the better one. A logit of -Inf rules its token out; NaN,
// +Inf and a row that rules out every token are errors, for they come from a broken model or computation.
func (s *Sampler) Sample(logits []float32) (int32, error) {
	if len(logits) != s.vocab {
		panic(fmt.Sprintf("sample: %d logits for a vocabulary of %d", len(logits), s.vocab))
	}
	if err := s.load(logits); err != nil {
		return 0, err
	}
	return s.pick()
}

// SampleTop is Sample for a device that selects: ids and logits are the TopK largest of a row, in any order, equal logits chosen
// by lower id. The token is the one that Sample gives for the whole row. Only for TopK > 0.
func (s *Sampler) SampleTop(ids []int32, logits []float32) (int32, error) {
	if s.topK == 0 || len(ids) != s.topK || len(logits) != s.topK {
		panic(fmt.Sprintf("sample: %d ids and %d logits, TopK is %d", len(ids), len(logits), s.topK))
	}
	if err := s.c.loadPairs(ids, logits); err != nil {
		return 0, err
	}
	return s.pick()
}

// TopK returns how many of a row's largest logits decide, so that a backend need not hand over the others: 1 when only the
// arg max matters, k when the chain starts with top_k, 0 when it takes the whole row.
func (s *Sampler) TopK() int { return s.topK }

// Greedy reports whether the next token is the arg max of the logits (the lowest of equals), whatever the seed and the history.
func (s *Sampler) Greedy() bool { return s.topK == 1 }

// Accept appends tokens to the history that penalties and dry look at: the prompt's as well as those chosen, as in llama.cpp.
func (s *Sampler) Accept(ids ...int32) {
	for _, id := range ids {
		if id < 0 || int(id) >= s.vocab {
			panic(fmt.Sprintf("sample: token %d accepted in a vocabulary of %d", id, s.vocab))
		}
		s.history = append(s.history, id)
		s.countLast()
	}
}

// Len returns the number of tokens accepted, the position of the next one.
func (s *Sampler) Len() int { return len(s.history) }

// Truncate goes back to position n, 0 to Len: the tokens accepted since are forgotten, and Sample draws there as it did before.
func (s *Sampler) Truncate(n int) {
	if n < 0 || n > len(s.history) {
		panic(fmt.Sprintf("sample: truncate to %d of %d tokens", n, len(s.history)))
	}
	s.history = s.history[:n]
	s.recount()
}

// Reset forgets every token; the seed stays.
func (s *Sampler) Reset() { s.Truncate(0) }

// Seed returns the seed in use.
func (s *Sampler) Seed() int64 { return s.seed }

// Reseed changes the seed, a negative one to a random one, and keeps the history: another answer to the same prompt.
func (s *Sampler) Reseed(seed int64) {
	if seed < 0 {
		seed = int64(rand.Uint32()) // 32 bits, llama.cpp's width: short enough to type again
	}
	s.seed = seed
}

// load takes of a row what the chain needs.
func (s *Sampler) load(logits []float32) error {
	if s.topK > 0 {
		return s.c.loadTop(logits, s.topK)
	}
	return s.c.loadAll(logits)
}

// pick runs the chain over the loaded candidates and draws one of those left.
func (s *Sampler) pick() (int32, error) {
	s.run()
	return s.c.draw(uniform(s.seed, s.Len(), drawToken))
}

// run applies bias and chain to the loaded candidates.
func (s *Sampler) run() {
	if len(s.p.LogitBias) > 0 {
		adjust(&s.c, s.p.LogitBias, func(l, bias float32) float32 { return l + bias })
	}
	for _, k := range s.chain {
		k.run(s)
	}
}
