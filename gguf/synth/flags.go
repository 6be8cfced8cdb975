package synth

import (
	"flag"
	"fmt"
	"strings"

	"mustafar/gguf"
)

// Flags defines the flags that describe a Model on fs and returns what makes the Model of them once fs is parsed.
func Flags(fs *flag.FlagSet) func() (Model, error) {
	var m Model
	var base, factor float64
	var typ string
	fs.IntVar(&m.Layers, "layers", 2, "layers")
	fs.IntVar(&m.Embd, "embd", 256, "width of the residual stream")
	fs.IntVar(&m.FF, "ff", 512, "width of the feed-forward network")
	fs.IntVar(&m.Heads, "heads", 4, "query heads")
	fs.IntVar(&m.KVHeads, "kv-heads", 2, "KV heads")
	fs.IntVar(&m.HeadDim, "head-dim", 0, "channels of a head; 0: embd/heads")
	fs.IntVar(&m.Vocab, "vocab", 512, "tokens")
	fs.IntVar(&m.Ctx, "ctx", 4096, "context length")
	fs.StringVar(&typ, "type", "F16", "a type for all matrices, or a mix: "+strings.Join(mixNames(), ", "))
	fs.IntVar(&m.Experts, "experts", 0, "experts; 0: a plain feed-forward network")
	fs.IntVar(&m.ExpertsUsed, "experts-used", 2, "experts that a token passes")
	fs.Float64Var(&base, "rope-base", 10000, "RoPE's base")
	fs.BoolVar(&m.RopeFactors, "rope-factors", false, "with rope_freqs.weight, as Llama 3.1")
	fs.StringVar(&m.Scaling, "scaling", "", "RoPE scaling: linear or yarn")
	fs.Float64Var(&factor, "factor", 4, "of RoPE scaling")
	fs.BoolVar(&m.OwnOutput, "own-output", false, "with output.weight; otherwise the embedding is tied")
	fs.Uint64Var(&m.Seed, "seed", 1, "of the weights")
	return func() (Model, error) {
		m.RopeBase, m.Factor = float32(base), float32(factor)
		for _, t := range gguf.Types() {
			if t.String() == typ {
				m.Type = t
				return m, nil
			}
		}
		mix, ok := mixes[typ]
		if !ok {
			return m, fmt.Errorf("synth: type %q is not known: want one of %v or %s", typ, gguf.Types(), strings.Join(mixNames(), ", "))
		}
		m.TypeOf = mix.typeOf(m)
		return m, nil
	}
}
