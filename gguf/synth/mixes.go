package synth

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mustafar/gguf"
)

// mix is one of llama.cpp's mixes of two types: more bits for the output, and in some of the layers for attn_v and ffn_down. (llama_tensor_get_type of
// llama-quant.cpp, which has further rules for models of 8 experts or 80 layers.)
type mix struct{ most, more gguf.Type }

var mixes = map[string]mix{
	"Q4_K_M": {gguf.Q4_K, gguf.Q6_K},
	"Q5_K_M": {gguf.Q5_K, gguf.Q6_K},
}

func mixNames() []string { return slices.Sorted(maps.Keys(mixes)) }

// typeOf returns Model.TypeOf for the shape of m.
func (x mix) typeOf(m Model) func(name string, cols int) gguf.Type {
	output := "token_embd"
	if m.OwnOutput {
		output = "output"
	}
	return func(name string, cols int) gguf.Type {
		layer, part := 0, name
		if rest, ok := strings.CutPrefix(name, "blk."); ok {
			fmt.Sscanf(rest, "%d.%s", &layer, &part)
		}
		switch strings.TrimSuffix(part, ".weight") {
		case output:
			return x.more
		case "attn_v", "ffn_down", "ffn_down_exps":
			if eighth := m.Layers / 8; layer < eighth || layer >= 7*m.Layers/8 || (layer-eighth)%3 == 2 {
				return x.more
			}
		}
		return x.most
	}
}
