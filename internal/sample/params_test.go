package sample

import (
	"math"
	"slices"
	"testing"
)

func TestValidate(t *testing.T) {
	nan := float32(math.NaN())
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	tests := []struct {
		set  func(p *Params)
		want string
	}{
		{func(p *Params) { p.Temp = nan }, "--temp NaN: want a number (0: greedy)"},
		{func(p *Params) { p.TopP = 1.5 }, "--top-p 1.5: want 0 to 1 (1: off)"},
		{func(p *Params) { p.TopP = nan }, "--top-p NaN: want 0 to 1 (1: off)"},
		{func(p *Params) { p.MinP = -0.1 }, "--min-p -0.1: want 0 to 1 (0: off)"},
		{func(p *Params) { p.TypP = 2 }, "--typical 2: want 0 to 1 (1: off)"},
		{func(p *Params) { p.TopNSigma = inf }, "--top-nsigma +Inf: want a number (-1: off)"},
		{func(p *Params) { p.XTCProbability = 7 }, "--xtc-probability 7: want 0 to 1 (0: off)"},
		{func(p *Params) { p.XTCThreshold = -1 }, "--xtc-threshold -1: want 0 to 1 (above 0.5: off)"},
		{func(p *Params) { p.RepeatLastN = -2 }, "--repeat-last-n -2: want a number of tokens (0: off, -1: all)"},
		{func(p *Params) { p.RepeatPenalty = 0 }, "--repeat-penalty 0: want more than 0 (1: off)"},
		{func(p *Params) { p.PresencePenalty = nan }, "--presence-penalty NaN: want a number (0: off)"},
		{func(p *Params) { p.FrequencyPenalty = -inf }, "--frequency-penalty -Inf: want a number (0: off)"},
		{func(p *Params) { p.DryMultiplier = -1 }, "--dry-multiplier -1: want 0 or more (0: off)"},
		{func(p *Params) { p.DryBase = 0.5 }, "--dry-base 0.5: want 1 or more"},
		{func(p *Params) { p.DryAllowedLength = 0 }, "--dry-allowed-length 0: want 1 or more"},
		{func(p *Params) { p.DryLastN = -5 }, "--dry-penalty-last-n -5: want a number of tokens (0: off, -1: all)"},
		{func(p *Params) { p.DryBreakers = [][]int32{{1}, {}} }, "--dry-sequence-breaker: want at least one token, got none"},
		{func(p *Params) { p.Samplers = []string{"top_k", "mirostat"} },
			`--samplers: no sampler "mirostat"; there are penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature`},
		{func(p *Params) { p.LogitBias = map[int32]float32{9: 1, 5: inf} }, "--logit-bias 5+Inf: want a finite bias or -Inf"},
	}
	for _, tt := range tests {
		p := Default()
		tt.set(&p)
		if err := p.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
		if _, err := New(p, 10); err == nil {
			t.Errorf("New takes what Validate refuses: %s", tt.want)
		}
	}
}

func TestParseSamplers(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                nil,
		"top_k":                           {"top_k"},
		"top-k; temp;;nucleus;":           {"top_k", "temperature", "top_p"},
		"penalties;typical-p;top-n-sigma": {"penalties", "typ_p", "top_n_sigma"},
		"mirostat":                        {"mirostat"},
	} {
		if got := ParseSamplers(in); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestParseLogitBias(t *testing.T) {
	for in, want := range map[string]struct {
		id   int32
		bias float32
	}{
		"15043+1": {15043, 1}, "15043-0.5": {15043, -0.5}, "2-inf": {2, -inf}, "7+1e-3": {7, 1e-3},
	} {
		if id, bias, err := ParseLogitBias(in); err != nil || id != want.id || bias != want.bias {
			t.Errorf("%q: got %d %g %v, want %d %g", in, id, bias, err, want.id, want.bias)
		}
	}
	for _, in := range []string{"", "12", "+1", "x+1", "5+", "5=1", "5000000000+1", "-3+1"} {
		if id, bias, err := ParseLogitBias(in); err == nil {
			t.Errorf("%q: got %d %g, want an error", in, id, bias)
		}
	}
}
