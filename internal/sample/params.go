package sample

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Params are the settings of a Sampler, under llama.cpp's names and with its meaning.
type Params struct {
	Seed int64 // --seed; negative: a random one, see Sampler.Seed

	Temp           float32 // --temp; 0 and less: greedy
	TopK           int     // --top-k; 0 and less: off
	TopP           float32 // --top-p; 1: off
	MinP           float32 // --min-p; 0: off
	TypP           float32 // --typical; 1: off
	TopNSigma      float32 // --top-nsigma; 0 and less: off
	XTCProbability float32 // --xtc-probability; 0: off
	XTCThreshold   float32 // --xtc-threshold; above 0.5: off

	RepeatLastN      int     // --repeat-last-n, tokens that the three penalties look at; 0: off, -1: all
	RepeatPenalty    float32 // --repeat-penalty; 1: off
	PresencePenalty  float32 // --presence-penalty; 0: off
	FrequencyPenalty float32 // --frequency-penalty; 0: off

	DryMultiplier    float32   // --dry-multiplier; 0: off
	DryBase          float32   // --dry-base
	DryAllowedLength int       // --dry-allowed-length, the longest repeat that costs nothing
	DryLastN         int       // --dry-penalty-last-n; 0: off, -1: all
	DryBreakers      [][]int32 // --dry-sequence-breaker as tokens: sequences over which no repeat reaches

	Samplers  []string          // --samplers, in the order of their application; none: draw from all tokens at temperature 1
	LogitBias map[int32]float32 // --logit-bias, added before the first sampler; -Inf: never this token
}

// Default returns llama.cpp's defaults, all but the DRY breakers: those are text, and it takes a vocabulary to find their tokens
// (every one with a newline, a colon, a double quote or an asterisk in it).
func Default() Params {
	return Params{
		Seed: -1,
		Temp: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, TypP: 1, TopNSigma: -1, XTCThreshold: 0.1,
		RepeatLastN: 64, RepeatPenalty: 1,
		DryBase: 1.75, DryAllowedLength: 2, DryLastN: 64,
		Samplers: Names(),
	}
}

// Validate returns an error that names the first flag whose value cannot be meant, the value and the range.
func (p Params) Validate() error {
	type number struct {
		flag  string
		value any
		ok    bool // written so that NaN is not
		want  string
	}
	in01 := func(x float32) bool { return x >= 0 && x <= 1 }
	finite := func(x float32) bool { return x-x == 0 }
	for _, n := range []number{
		{"temp", p.Temp, finite(p.Temp), "a number (0: greedy)"},
		{"top-p", p.TopP, in01(p.TopP), "0 to 1 (1: off)"},
		{"min-p", p.MinP, in01(p.MinP), "0 to 1 (0: off)"},
		{"typical", p.TypP, in01(p.TypP), "0 to 1 (1: off)"},
		{"top-nsigma", p.TopNSigma, finite(p.TopNSigma), "a number (-1: off)"},
		{"xtc-probability", p.XTCProbability, in01(p.XTCProbability), "0 to 1 (0: off)"},
		{"xtc-threshold", p.XTCThreshold, in01(p.XTCThreshold), "0 to 1 (above 0.5: off)"},
		{"repeat-last-n", p.RepeatLastN, p.RepeatLastN >= -1, "a number of tokens (0: off, -1: all)"},
		{"repeat-penalty", p.RepeatPenalty, finite(p.RepeatPenalty) && p.RepeatPenalty > 0, "more than 0 (1: off)"},
		{"presence-penalty", p.PresencePenalty, finite(p.PresencePenalty), "a number (0: off)"},
		{"frequency-penalty", p.FrequencyPenalty, finite(p.FrequencyPenalty), "a number (0: off)"},
		{"dry-multiplier", p.DryMultiplier, finite(p.DryMultiplier) && p.DryMultiplier >= 0, "0 or more (0: off)"},
		{"dry-base", p.DryBase, finite(p.DryBase) && p.DryBase >= 1, "1 or more"},
		{"dry-allowed-length", p.DryAllowedLength, p.DryAllowedLength >= 1, "1 or more"},
		{"dry-penalty-last-n", p.DryLastN, p.DryLastN >= -1, "a number of tokens (0: off, -1: all)"},
	} {
		if !n.ok {
			return fmt.Errorf("--%s %v: want %s", n.flag, n.value, n.want)
		}
	}
	for _, name := range p.Samplers {
		if kindOf(name) == nil {
			return fmt.Errorf("--samplers: no sampler %q; there are %s", name, strings.Join(Names(), ";"))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.LogitBias)) {
		if b := p.LogitBias[id]; !(b <= math.MaxFloat32) {
			return fmt.Errorf("--logit-bias %d%+v: want a finite bias or -Inf", id, b)
		}
	}
	for _, b := range p.DryBreakers {
		if len(b) == 0 {
			return fmt.Errorf("--dry-sequence-breaker: want at least one token, got none")
		}
	}
	return nil
}

// ParseSamplers splits the value of --samplers, names between semicolons; llama.cpp's other spellings (top-k, temp, nucleus …)
// become the names that Params takes. Validate knows which ones there are.
func ParseSamplers(s string) []string {
	var names []string
	for name := range strings.SplitSeq(s, ";") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		name = strings.ReplaceAll(name, "-", "_")
		if full, ok := spellings[name]; ok {
			name = full
		}
		names = append(names, name)
	}
	return names
}

var spellings = map[string]string{
	"temp":      "temperature",
	"nucleus":   "top_p",
	"typ":       "typ_p",
	"typical":   "typ_p",
	"typical_p": "typ_p",
}

// ParseLogitBias reads one value of --logit-bias, a token and a signed bias: "15043+1", "15043-0.5", "2-inf".
func ParseLogitBias(s string) (id int32, bias float32, err error) {
	if i := strings.IndexAny(s, "+-"); i > 0 {
		n, idErr := strconv.ParseInt(s[:i], 10, 32)
		b, biasErr := strconv.ParseFloat(s[i:], 32)
		if idErr == nil && biasErr == nil {
			return int32(n), float32(b), nil
		}
	}
	return 0, 0, fmt.Errorf("--logit-bias %q: want TOKEN+BIAS or TOKEN-BIAS, as 15043+1 or 2-inf", s)
}
