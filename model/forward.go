package model

import (
	"mustafar/backend"
	"mustafar/kvcache"
)

// Forward runs the batch through the model and returns the logits of the rows it wants, (len(batch.Wants), Vocab), valid until the next call. The
// batch's rows become part of their sequences. A prompt sees itself dense, and then is compressed as far as the cache's policy says.
func (m *Model) Forward(c *kvcache.Cache, batch *kvcache.Batch) backend.Tensor {
	x := m.activations(len(batch.Tokens))
	m.b.Embed(x.res, m.w.embed, batch.Tokens)
	for l := range m.w.layers {
		m.layer(l, x, c, batch)
		c.Seal(batch, l)
	}
	c.Commit(batch)
	return m.logits(x.res, batch.Wants)
}

// layer passes x through layer l and adds the batch's K and V to the cache.
func (m *Model) layer(l int, x activations, c *kvcache.Cache, batch *kvcache.Batch) {
	b, w := m.b, &m.w.layers[l]

	b.RMSNorm(x.h, x.res, w.attnNorm, m.Eps)                   // h   (n, embd)
	m.matMul(x.h, to(x.q, w.wq), to(x.k, w.wk), to(x.v, w.wv)) // q   (n, heads, head_dim); k, v (n, kv_heads, head_dim)
	b.RoPE(x.q, m.HeadDim, batch.Pos, m.rope)
	b.RoPE(x.k, m.HeadDim, batch.Pos, m.rope) // pruning looks at K after RoPE
	m.trace(l, named{"attn_norm", x.h}, named{"Qcur", x.q}, named{"Kcur", x.k}, named{"Vcur", x.v})
	c.Put(batch, l, x.k, x.v)
	c.Attend(batch, l, x.att, x.q) // att (n, heads, head_dim)
	m.matMul(x.att, to(x.y, w.wo)) // y   (n, embd)
	b.Add(x.res, x.y)
	m.trace(l, named{"kqv_out", x.att}, named{"ffn_inp", x.res})

	b.RMSNorm(x.h, x.res, w.ffnNorm, m.Eps)
	if w.experts != nil {
		b.Experts(x.y, x.h, w.experts)
	} else {
		m.matMul(x.h, to(x.gate, w.gate), to(x.up, w.up)) // gate, up (n, ff)
		b.SwiGLU(x.gate, x.gate, x.up)
		m.matMul(x.gate, to(x.y, w.down))
	}
	b.Add(x.res, x.y)
	m.trace(l, named{"ffn_norm", x.h}, named{"ffn_out", x.y}, named{"l_out", x.res})
}

// logits returns the scores of the wanted rows of the residual stream, (wants, vocab).
func (m *Model) logits(res backend.Tensor, wants []int) backend.Tensor {
	if len(wants) == 0 {
		return backend.Tensor{}
	}
	norm, logits := m.outputs(len(wants))
	for i, row := range wants {
		m.b.RMSNorm(norm.Range(i, i+1), res.Range(row, row+1), m.w.outputNorm, m.Eps)
	}
	m.matMul(norm, to(logits, m.w.output))
	m.trace(-1, named{"result_norm", norm}, named{"result_output", logits})
	return logits
}

// to names one product of matMul: y (n, rows) = x·Wᵀ.
func to(y backend.Tensor, w backend.Weight) backend.Out { return backend.Out{Y: y, W: w} }

// matMul multiplies x with every weight that wants it, in one call. The list is the model's, so that a decode step allocates nothing.
func (m *Model) matMul(x backend.Tensor, outs ...backend.Out) {
	m.outs = append(m.outs[:0], outs...)
	m.b.MatMul(x, m.outs)
}

type named struct {
	name string
	t    backend.Tensor
}

func (m *Model) trace(layer int, ts ...named) {
	if m.Trace != nil {
		for _, n := range ts {
			m.Trace(n.name, layer, n.t)
		}
	}
}
