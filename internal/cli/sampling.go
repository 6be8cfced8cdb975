package cli

import (
	"math"
	"strings"

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
	f.integer(&s.seed, "-s, --seed", "seed of the draws; below 0: random", int(p.Seed), math.MinInt)
	f.float32(&p.Temp, "--temp, --temperature", "temperature; 0: always the most likely token", p.Temp)
	f.integer(&p.TopK, "--top-k", "only the N most likely; 0: all", p.TopK, math.MinInt)
	f.float32(&p.TopP, "--top-p", "the most likely whose probabilities sum to X; 1: all", p.TopP)
	f.float32(&p.MinP, "--min-p", "those at least X times as likely as the most likely; 0: all", p.MinP)
	f.float32(&p.TypP, "--typical, --typical-p", "locally typical sampling; 1: off", p.TypP)
	f.float32(&p.TopNSigma, "--top-nsigma, --top-n-sigma", "within X standard deviations of the largest logit; -1: off", p.TopNSigma)
	f.float32(&p.XTCProbability, "--xtc-probability", "chance to drop the most likely tokens; 0: off", p.XTCProbability)
	f.float32(&p.XTCThreshold, "--xtc-threshold", "those above this probability, but for the last", p.XTCThreshold)
	f.float32(&p.RepeatPenalty, "--repeat-penalty", "divides the logits of repeated tokens; 1: off", p.RepeatPenalty)
	f.integer(&p.RepeatLastN, "--repeat-last-n", "tokens that count as repeated; 0: none, -1: all", p.RepeatLastN, -1)
	f.float32(&p.PresencePenalty, "--presence-penalty", "taken from the logits of repeated tokens; 0: off", p.PresencePenalty)
	f.float32(&p.FrequencyPenalty, "--frequency-penalty", "the same for every repetition; 0: off", p.FrequencyPenalty)
	f.add("--samplers", "LIST", "samplers in order, separated by ;", strings.Join(p.Samplers, ";"), func(list string) error {
		p.Samplers = sample.ParseSamplers(list)
		return nil
	})
	f.add("-l, --logit-bias", "ID±B", "added to the logit of a token; may be repeated", "", func(text string) error {
		id, bias, err := sample.ParseLogitBias(text)
		p.LogitBias[id] = bias
		return err
	})
	f.boolean(&s.ignoreEOS, "--ignore-eos", "go on where the model would end the answer")
	return s
}

// validate reports what makes no sense for any model, before one is loaded.
func (s *samplingFlags) validate() error {
	s.p.Seed = int64(s.seed)
	if err := s.p.Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

// sampler makes a sampler for a model's vocabulary.
func (s *samplingFlags) sampler(t *tokenizer.Tokenizer) (*sample.Sampler, error) {
	p := s.p
	if s.ignoreEOS {
		for _, id := range t.EOG() {
			p.LogitBias[id] = float32(math.Inf(-1))
		}
	}
	sampler, err := sample.New(p, t.Vocab())
	if err != nil { // a biased token that the model has not
		return nil, usageError{err}
	}
	return sampler, nil
}
