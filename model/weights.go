package model

import (
	"fmt"
	"strings"

	"mustafar/backend"
	"mustafar/gguf"
)

// weights are the matrices of a model on a device, the shapes as (rows, cols).
type weights struct {
	embed      backend.Weight // (vocab, embd)
	outputNorm backend.Weight // (embd)
	output     backend.Weight // (vocab, embd), of the embedding's tensor where the file has none of its own
	layers     []layer
}

type layer struct {
	attnNorm       backend.Weight // (embd)
	wq             backend.Weight // (heads·head_dim, embd)
	wk, wv         backend.Weight // (kv_heads·head_dim, embd)
	wo             backend.Weight // (embd, heads·head_dim)
	ffnNorm        backend.Weight // (embd)
	gate, up, down backend.Weight // (ff, embd), (ff, embd), (embd, ff)
	experts        *backend.Experts
}

// loader uploads tensors until the first error, which stays.
type loader struct {
	f        *gguf.File
	b        backend.Backend
	used     map[string]bool
	progress func(done, total int64)
	done     int64
	err      error
}

// load uploads tensor name, of the shape given in GGUF's order: columns first.
func (l *loader) load(name string, shape ...int) backend.Weight {
	return l.loadBy(l.b.Upload, name, shape...)
}

func (l *loader) loadBy(upload func(gguf.Tensor) (backend.Weight, error), name string, shape ...int) backend.Weight {
	t, ok := l.f.Tensor(name)
	if l.err != nil {
		return nil
	}
	if !ok {
		l.err = fmt.Errorf("model: %s: tensor %q is missing", l.f.Path, name)
		return nil
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(shape) {
		l.err = fmt.Errorf("model: %s: tensor %q has shape %v, want %v", l.f.Path, name, t.Shape, shape)
		return nil
	}
	w, err := upload(t)
	if err != nil {
		l.err = fmt.Errorf("model: %s: %w", l.f.Path, err)
		return nil
	}
	if !w.Mapped() {
		l.f.Discard(t.Data)
	}
	l.used[name] = true
	l.done += int64(t.Bytes())
	if l.progress != nil {
		l.progress(l.done, l.f.Size())
	}
	return w
}

func (l *loader) loadAll(c Config) (w weights) {
	const embed, output = "token_embd.weight", "output.weight"
	w.embed = l.loadBy(l.b.Table, embed, c.Embd, c.Vocab)
	w.outputNorm = l.load("output_norm.weight", c.Embd)
	if _, own := l.f.Tensor(output); own {
		w.output = l.load(output, c.Embd, c.Vocab)
	} else {
		w.output = l.load(embed, c.Embd, c.Vocab)
	}
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for i := range c.Layers {
		blk := func(name string, shape ...int) backend.Weight {
			return l.load(fmt.Sprintf("blk.%d.%s.weight", i, name), shape...)
		}
		y := layer{
			attnNorm: blk("attn_norm", c.Embd),
			wq:       blk("attn_q", c.Embd, q),
			wk:       blk("attn_k", c.Embd, kv),
			wv:       blk("attn_v", c.Embd, kv),
			wo:       blk("attn_output", q, c.Embd),
			ffnNorm:  blk("ffn_norm", c.Embd),
		}
		if c.Experts > 0 {
			y.experts = &backend.Experts{
				Router: blk("ffn_gate_inp", c.Embd, c.Experts),
				Gate:   blk("ffn_gate_exps", c.Embd, c.FF, c.Experts),
				Up:     blk("ffn_up_exps", c.Embd, c.FF, c.Experts),
				Down:   blk("ffn_down_exps", c.FF, c.Embd, c.Experts),
				Count:  c.Experts, Used: c.ExpertsUsed,
			}
		} else {
			y.gate, y.up, y.down = blk("ffn_gate", c.Embd, c.FF), blk("ffn_up", c.Embd, c.FF), blk("ffn_down", c.FF, c.Embd)
		}
		w.layers = append(w.layers, y)
	}
	return w
}

// leftover returns an error about the first tensor that the forward pass would silently leave out.
func (l *loader) leftover() error {
	for _, t := range l.f.Tensors {
		if !l.used[t.Name] && t.Name != ropeFactors && !strings.HasSuffix(t.Name, ".attn_rot_embd") {
			return fmt.Errorf("model: %s: tensor %q belongs to no part of a llama that is supported here", l.f.Path, t.Name)
		}
	}
	return nil
}

// ropeFactors is the tensor that divides RoPE's frequencies in Llama 3.1 and later.
const ropeFactors = "rope_freqs.weight"

func readRopeFactors(f *gguf.File, pairs int) ([]float32, error) {
	t, ok := f.Tensor(ropeFactors)
	if !ok {
		return nil, nil
	}
	if t.Type != gguf.F32 || t.Elems() != pairs {
		return nil, fmt.Errorf("model: %s: tensor %q is %v of %v, want %v of [%d]", f.Path, t.Name, t.Type, t.Shape, gguf.F32, pairs)
	}
	v := make([]float32, pairs)
	gguf.Dequantize(v, t.Type, t.Data)
	for _, x := range v {
		if !(x > 0) {
			return nil, fmt.Errorf("model: %s: tensor %q holds %g, want positive factors", f.Path, t.Name, x)
		}
	}
	return v, nil
}
