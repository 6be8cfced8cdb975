// Package synth makes random tensors and whole random models, for tests, and for benchmarks where speed does not depend on the values.
package synth

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"mustafar/gguf"
)

// Model is the shape of a random Llama. Zero fields take the values that the comments name.
type Model struct {
	Layers, Embd, FF     int
	Heads, KVHeads       int
	HeadDim              int // Embd/Heads
	Vocab                int // 512; at least 259
	Ctx                  int // 4096
	RopeBase             float32
	Experts, ExpertsUsed int
	RopeFactors          bool   // rope_freqs.weight
	Scaling              string // "", "linear" or "yarn"
	Factor               float32
	OwnOutput            bool // output.weight; otherwise the embedding is tied
	Seed                 uint64
	Type                 gguf.Type                             // of matrices
	TypeOf               func(name string, cols int) gguf.Type // of one matrix, if set
}

// Write writes the model as GGUF, with a SentencePiece vocabulary of bytes and made-up words. The same Model gives the same bytes.
func (m Model) Write(w io.Writer) error {
	m.fill()
	return gguf.Write(w, m.metadata(), m.tensors())
}

func (m *Model) fill() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&m.HeadDim, m.Embd/m.Heads)
	def(&m.Vocab, 512)
	def(&m.Ctx, 4096)
	if m.RopeBase == 0 {
		m.RopeBase = 10000
	}
	if m.TypeOf == nil {
		m.TypeOf = func(string, int) gguf.Type { return m.Type }
	}
}

func (m Model) metadata() []gguf.KV {
	n := func(v int) uint32 { return uint32(v) }
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "general.name", Value: "random"},
		{Key: "llama.block_count", Value: n(m.Layers)},
		{Key: "llama.context_length", Value: n(m.Ctx)},
		{Key: "llama.embedding_length", Value: n(m.Embd)},
		{Key: "llama.feed_forward_length", Value: n(m.FF)},
		{Key: "llama.attention.head_count", Value: n(m.Heads)},
		{Key: "llama.attention.head_count_kv", Value: n(m.KVHeads)},
		{Key: "llama.attention.key_length", Value: n(m.HeadDim)},
		{Key: "llama.attention.value_length", Value: n(m.HeadDim)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		{Key: "llama.rope.freq_base", Value: m.RopeBase},
		{Key: "llama.rope.dimension_count", Value: n(m.HeadDim)},
		{Key: "llama.vocab_size", Value: n(m.Vocab)},
	}
	if m.Experts > 0 {
		kvs = append(kvs, gguf.KV{Key: "llama.expert_count", Value: n(m.Experts)}, gguf.KV{Key: "llama.expert_used_count", Value: n(m.ExpertsUsed)})
	}
	if m.Scaling != "" {
		kvs = append(kvs, gguf.KV{Key: "llama.rope.scaling.type", Value: m.Scaling}, gguf.KV{Key: "llama.rope.scaling.factor", Value: m.Factor},
			gguf.KV{Key: "llama.rope.scaling.original_context_length", Value: n(m.Ctx / int(m.Factor))})
	}
	tokens, scores, kinds := m.vocabulary()
	return append(kvs,
		gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: tokens},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: scores},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: kinds},
		gguf.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
		gguf.KV{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)},
	)
}

// vocabulary is <unk>, <s>, </s>, the 256 bytes, and words that no text has.
func (m Model) vocabulary() (tokens []string, scores []float32, kinds []int32) {
	const normal, unknown, control, byteToken = 1, 2, 3, 6
	add := func(s string, kind int32) {
		tokens, scores, kinds = append(tokens, s), append(scores, -float32(len(tokens))), append(kinds, kind)
	}
	add("<unk>", unknown)
	add("<s>", control)
	add("</s>", control)
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b), byteToken)
	}
	for len(tokens) < m.Vocab {
		add(fmt.Sprintf("▁w%d", len(tokens)), normal)
	}
	return tokens, scores, kinds
}

// tensors draws the weights so that attention is neither uniform nor one-hot, logits have a standard deviation of 2, and, as in a trained model, a layer
// adds a little to the residual stream: random layers of equal weight would make ten times as much of a rounding error.
func (m Model) tensors() (ts []gguf.Tensor) {
	r := rand.New(rand.NewPCG(m.Seed, 0x6d75737461666172))
	add := func(name string, typ gguf.Type, std float64, shape ...int) {
		rows := 1
		for _, d := range shape[1:] {
			rows *= d
		}
		data := Rows(r, typ, shape[0], rows, std)
		centre(typ, data)
		ts = append(ts, gguf.Tensor{Name: name, Type: typ, Shape: shape, Data: data})
	}
	matrix := func(name string, gain float64, shape ...int) {
		add(name, m.TypeOf(name, shape[0]), gain/math.Sqrt(float64(shape[0])), shape...)
	}
	norm := func(name string, gain float64) { // random signs: what a tied embedding finds likeliest is not the token itself
		x := Normals(r, m.Embd, 0.1)
		for i := range x {
			x[i] = (1 + x[i]) * float32(gain) * float32(1-2*int(r.Uint64()&1))
		}
		ts = append(ts, gguf.Tensor{Name: name, Type: gguf.F32, Shape: []int{m.Embd}, Data: gguf.Quantize(gguf.F32, x)})
	}
	q, kv := m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
	matrix("token_embd.weight", math.Sqrt(float64(m.Embd)), m.Embd, m.Vocab)
	for i := range m.Layers {
		blk := func(name string) string { return fmt.Sprintf("blk.%d.%s.weight", i, name) }
		norm(blk("attn_norm"), 1)
		matrix(blk("attn_q"), 1.25, m.Embd, q)
		matrix(blk("attn_k"), 1.25, m.Embd, kv)
		matrix(blk("attn_v"), 1, m.Embd, kv)
		matrix(blk("attn_output"), 0.3, q, m.Embd)
		norm(blk("ffn_norm"), 1)
		if m.Experts > 0 {
			add(blk("ffn_gate_inp"), gguf.F32, 4/math.Sqrt(float64(m.Embd)), m.Embd, m.Experts)
			matrix(blk("ffn_gate_exps"), 1, m.Embd, m.FF, m.Experts)
			matrix(blk("ffn_up_exps"), 1, m.Embd, m.FF, m.Experts)
			matrix(blk("ffn_down_exps"), 0.25, m.FF, m.Embd, m.Experts)
		} else {
			matrix(blk("ffn_gate"), 1, m.Embd, m.FF)
			matrix(blk("ffn_up"), 1, m.Embd, m.FF)
			matrix(blk("ffn_down"), 0.25, m.FF, m.Embd)
		}
	}
	norm("output_norm.weight", 2/math.Sqrt(float64(m.Embd)))
	if m.OwnOutput {
		matrix("output.weight", math.Sqrt(float64(m.Embd)), m.Embd, m.Vocab)
	}
	if m.RopeFactors {
		f := make([]float32, m.HeadDim/2)
		for j := range f { // as Llama 3.1's: high frequencies stay, low ones are divided by 8
			f[j] = 1 + 7*float32(j)/float32(len(f)-1)
		}
		ts = append(ts, gguf.Tensor{Name: "rope_freqs.weight", Type: gguf.F32, Shape: []int{len(f)}, Data: gguf.Quantize(gguf.F32, f)})
	}
	return ts
}
