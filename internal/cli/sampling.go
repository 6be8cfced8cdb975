package cli

import (
	"fmt"
	"math"

	"mustafar/internal/sample"
	"mustafar/model/tokenizer"
)

// samplingFlags fill the parameters of a sampler, with llama.cpp's names and defaults.
type samplingFlags struct {
	p         sample.Params
	seed      int
	ignoreEOS bool
}

func addSamplingFlags(f *flags) *samplingFlags {
	s := &samplingFlags{p: sample.Default()}
	p := &s.p
	p.LogitBias = map[int32]float32{}
	f.in("Sampling")
	f.integer(&s.seed, "s,seed", "seed of the draws; below 0: random", int(p.Seed))
	f.float32(&p.Temp, "temp,temperature", "temperature; 0: always the most likely token", p.Temp)
	f.integer(&p.TopK, "top-k", "only the K most likely; 0: all", p.TopK)
	f.float32(&p.TopP, "top-p", "the most likely whose probabilities sum to P; 1: all", p.TopP)
	f.float32(&p.MinP, "min-p", "at least P times the most likely; 0: all", p.MinP)
	f.float32(&p.TypP, "typical,typical-p", "locally typical sampling; 1: off", p.TypP)
	f.float32(&p.TopNSigma, "top-nsigma,top-n-sigma", "within N standard deviations of the largest logit; -1: off", p.TopNSigma)
	f.float32(&p.XTCProbability, "xtc-probability", "chance to drop the most likely tokens; 0: off", p.XTCProbability)
	f.float32(&p.XTCThreshold, "xtc-threshold", "those above this probability, but for the last", p.XTCThreshold)
	f.float32(&p.RepeatPenalty, "repeat-penalty", "divides the logits of repeated tokens; 1: off", p.RepeatPenalty)
	f.integer(&p.RepeatLastN, "repeat-last-n", "tokens that count as repeated; 0: none, -1: all", p.RepeatLastN)
	f.float32(&p.PresencePenalty, "presence-penalty", "taken from the logits of repeated tokens; 0: off", p.PresencePenalty)
	f.float32(&p.FrequencyPenalty, "frequency-penalty", "the same for every repetition; 0: off", p.FrequencyPenalty)
	f.each("samplers", "LIST", "samplers in order, separated by ;", "", func(list string) error {
		p.Samplers = sample.ParseSamplers(list)
		return nil
	})
	f.each("l,logit-bias", "ID±B", "added to the logit of a token; may be repeated", "", func(text string) error {
		id, bias, err := sample.ParseLogitBias(text)
		p.LogitBias[id] = bias
		return err
	})
	f.boolean(&s.ignoreEOS, "ignore-eos", "go on where the model would end the answer")
	return s
}

// params returns the parameters for a model's vocabulary.
func (s *samplingFlags) params(t *tokenizer.Tokenizer) (sample.Params, error) {
	p := s.p
	p.Seed = int64(s.seed)
	if err := p.Validate(); err != nil {
		return p, errUsage{err}
	}
	for id := range p.LogitBias {
		if id < 0 || int(id) >= t.Vocab() {
			return p, usagef("--logit-bias: token %d: the model has 0 to %d", id, t.Vocab()-1)
		}
	}
	if s.ignoreEOS {
		for _, id := range t.EOG() {
			p.LogitBias[id] = float32(math.Inf(-1))
		}
	}
	return p, nil
}

func (s *samplingFlags) sampler(t *tokenizer.Tokenizer) (*sample.Sampler, error) {
	p, err := s.params(t)
	if err != nil {
		return nil, err
	}
	sampler, err := sample.New(p, t.Vocab())
	if err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	return sampler, nil
}
