// Package model reads a Llama or Mistral from GGUF and runs its forward pass on a backend.
package model

import (
	"fmt"

	"mustafar/backend"
	"mustafar/gguf"
	"mustafar/kvcache"
)

// Model is a loaded model. It is used by one goroutine at a time.
type Model struct {
	Config
	b    backend.Backend
	w    weights
	rope *backend.Rope

	rows, wants  int         // that act, norm and logits have
	act          activations // of a forward pass
	norm, scores backend.Tensor
	outs         []backend.Out

	// Trace, if set, is called with every activation of a forward pass under ggml's name for it: attn_norm, Qcur, Kcur, Vcur, kqv_out, ffn_norm,
	// ffn_out, l_out of a layer; result_norm and result_output at the end, layer -1.
	Trace func(name string, layer int, t backend.Tensor)
}

// Load uploads the model of f, which must stay open until the model is no more used. progress, which may be nil, is told of bytes.
func Load(f *gguf.File, b backend.Backend, progress func(done, total int64)) (*Model, error) {
	c, err := ReadConfig(f)
	if err != nil {
		return nil, err
	}
	if len(f.Tensors) == 0 {
		return nil, fmt.Errorf("model: %s: a vocabulary without tensors cannot run", f.Path)
	}
	if t, ok := f.Tensor("token_embd.weight"); ok {
		c.Vocab = t.Rows()
	}
	factors, err := readRopeFactors(f, c.RotDim/2)
	if err != nil {
		return nil, err
	}
	l := loader{f: f, b: b, used: map[string]bool{}, progress: progress}
	m := &Model{Config: c, b: b, w: l.loadAll(c), rope: c.rope(factors)}
	if l.err != nil {
		return nil, l.err
	}
	if err := l.leftover(); err != nil {
		return nil, err
	}
	return m, nil
}

// NewCache makes an empty cache for this model on its backend.
func (m *Model) NewCache(p kvcache.Policy) *kvcache.Cache { return kvcache.New(m.b, m.Shape(), p) }

// WeightBytes is what the device holds of the weights, but for the embedding, whose rows are read from the file.
func (m *Model) WeightBytes() (n int64) {
	count := func(ws ...backend.Weight) {
		for _, w := range ws {
			if w != nil {
				n += w.Bytes()
			}
		}
	}
	count(m.w.outputNorm, m.w.output)
	for _, l := range m.w.layers {
		count(l.attnNorm, l.wq, l.wk, l.wv, l.wo, l.ffnNorm, l.gate, l.up, l.down)
		if e := l.experts; e != nil {
			count(e.Router, e.Gate, e.Up, e.Down)
		}
	}
	return n
}
