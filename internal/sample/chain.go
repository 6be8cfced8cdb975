package sample

import "math"

// A kind is one of llama.cpp's samplers: its name, whether the parameters make it do anything, and what it does to the candidates.
type kind struct {
	name string
	on   func(p *Params) bool
	run  func(s *Sampler)
}

// kinds are in llama.cpp's default order.
var kinds = []*kind{
	{"penalties", penaltiesOn, (*Sampler).penalties},
	{"dry", dryOn, (*Sampler).dryPenalty},
	{"top_n_sigma", func(p *Params) bool { return p.TopNSigma > 0 }, (*Sampler).topNSigma},
	{"top_k", func(p *Params) bool { return p.TopK > 0 }, (*Sampler).keepTopK},
	{"typ_p", func(p *Params) bool { return p.TypP < 1 }, (*Sampler).typical},
	{"top_p", func(p *Params) bool { return p.TopP < 1 }, (*Sampler).topP},
	{"min_p", func(p *Params) bool { return p.MinP > 0 }, (*Sampler).minP},
	{"xtc", func(p *Params) bool { return p.XTCProbability > 0 && p.XTCThreshold <= 0.5 }, (*Sampler).xtc},
	{"temperature", func(p *Params) bool { return p.Temp != 1 }, (*Sampler).temperature},
}

// Names returns the samplers there are, in llama.cpp's default order.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// kindOf returns the sampler of that name, nil if there is none.
func kindOf(name string) *kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// greedyTemp is the temperature up to which the best token is taken without a draw. llama.cpp's limit is 0; below 1e-5 a draw
// would give the same, and the division would sooner or later overflow.
const greedyTemp = 1e-5

// enough returns Sampler.TopK for a chain: how many of the largest logits decide, 0 for all.
func enough(p *Params, chain []*kind) int {
	if len(p.LogitBias) > 0 {
		return 0
	}
	n := 0
	for i, k := range chain {
		switch k.name {
		case "temperature":
			if p.Temp <= greedyTemp {
				return 1
			}
			return n
		case "top_k":
			if p.TopK == 1 {
				return 1
			}
			if i == 0 {
				n = p.TopK
			}
		case "top_p", "min_p", "top_n_sigma": // drop tokens, but never the best one
		default:
			return n
		}
	}
	return n
}

// keepTopK keeps the TopK best.
func (s *Sampler) keepTopK() { s.c.keepBest(s.p.TopK) }

// temperature divides the logits by Temp; at 0 and below it keeps the best alone.
func (s *Sampler) temperature() {
	if s.p.Temp <= greedyTemp {
		s.c.keepBest(1)
		return
	}
	for i := range s.c.list {
		s.c.list[i].logit /= s.p.Temp
	}
}

// topP keeps the fewest of the best whose probabilities add up to TopP or more (Holtzman et al., arXiv 1904.09751).
func (s *Sampler) topP() {
	c := &s.c
	target := float64(s.p.TopP) * c.softmax()
	sum := 0.0
	for i := range c.list {
		if sum += float64(c.best(i).weight); sum >= target {
			c.keep(0, i+1)
			return
		}
	}
}

// minP keeps the tokens that are at least MinP times as probable as the best.
func (s *Sampler) minP() {
	s.c.keepFrom(s.c.max() + float32(math.Log(float64(s.p.MinP))))
}

// topNSigma keeps the logits within TopNSigma standard deviations of the largest (arXiv 2411.07641). Ruled out tokens do not
// count in the deviation.
func (s *Sampler) topNSigma() {
	c := &s.c
	n, sum := 0, 0.0
	for i := range c.list {
		if l := float64(c.list[i].logit); !math.IsInf(l, -1) {
			n, sum = n+1, sum+l
		}
	}
	mean := sum / float64(n)
	squares := 0.0
	for i := range c.list {
		if l := float64(c.list[i].logit); !math.IsInf(l, -1) {
			squares += float64((l - mean) * (l - mean))
		}
	}
	if n > 0 {
		c.keepFrom(c.max() - float32(s.p.TopNSigma*float32(math.Sqrt(squares/float64(n)))))
	}
}

// typical keeps the fewest tokens, those first whose surprise is nearest to the entropy, whose probabilities add up to more than
// TypP (Meister et al., arXiv 2202.00666).
//
// With d a logit less the largest one, -log p = log Z - d, and the entropy is log Z less the mean of d under p, so the distance
// of the two is |d - mean|. In the order of logits the kept tokens are neighbours: a span that grows from the mean to both sides.
func (s *Sampler) typical() {
	c := &s.c
	total, top := c.softmax(), c.max()
	mean := 0.0
	for i := range c.list {
		if w := float64(c.list[i].weight); w > 0 {
			mean += float64(w * float64(c.list[i].logit-top))
		}
	}
	mean /= total
	offset := func(i int) float64 { return float64(c.best(i).logit-top) - mean }

	lo := 0 // kept are lo <= i < hi
	for lo < len(c.list) && offset(lo) >= 0 {
		lo++
	}
	hi := lo
	for sum := 0.0; sum <= float64(s.p.TypP)*total && (lo > 0 || hi < len(c.list)); {
		if hi == len(c.list) || lo > 0 && offset(lo-1) <= -offset(hi) {
			lo--
			sum += float64(c.best(lo).weight)
		} else {
			sum += float64(c.best(hi).weight)
			hi++
		}
	}
	c.keep(lo, hi)
}

// xtc, with probability XTCProbability, drops the tokens of probability XTCThreshold or more, but the least of them
// (oobabooga/text-generation-webui#6335).
func (s *Sampler) xtc() {
	c := &s.c
	if len(c.list) < 2 || uniform(s.seed, s.Len(), drawXTC) >= float64(s.p.XTCProbability) {
		return
	}
	least := float64(s.p.XTCThreshold) * c.softmax()
	n := 0
	for n < len(c.list) && c.best(n).weight > 0 && float64(c.best(n).weight) >= least {
		n++
	}
	if n > 1 {
		c.keep(n-1, len(c.list))
	}
}
