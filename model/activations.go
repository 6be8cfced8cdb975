package model

import "mustafar/backend"

// activations are what a forward pass works in, n rows of each.
type activations struct {
	res, h, y backend.Tensor // (n, embd) the residual stream, a branch's input and its output
	q, att    backend.Tensor // (n, heads·head_dim)
	k, v      backend.Tensor // (n, kv_heads·head_dim)
	gate, up  backend.Tensor // (n, ff)
}

func (a *activations) all() [9]*backend.Tensor {
	return [9]*backend.Tensor{&a.res, &a.h, &a.y, &a.q, &a.att, &a.k, &a.v, &a.gate, &a.up}
}

// activations returns n rows of memory, kept for as many as were ever needed at once. What it held is lost.
func (m *Model) activations(n int) activations {
	if n > m.rows {
		q, kv := m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
		cols := [9]int{m.Embd, m.Embd, m.Embd, q, q, kv, kv, m.FF, m.FF}
		for i, t := range m.act.all() {
			m.resize(t, n, cols[i])
		}
		m.rows = n
	}
	a := m.act
	for _, t := range a.all() {
		*t = t.Range(0, n)
	}
	return a
}

// outputs returns memory for the last norm and the logits of n rows.
func (m *Model) outputs(n int) (norm, logits backend.Tensor) {
	if n > m.wants {
		m.resize(&m.norm, n, m.Embd)
		m.resize(&m.scores, n, m.Vocab)
		m.wants = n
	}
	return m.norm.Range(0, n), m.scores.Range(0, n)
}

func (m *Model) resize(t *backend.Tensor, rows, cols int) {
	if t.Buf != nil {
		m.b.Free(*t)
	}
	*t = m.b.Alloc(rows, cols)
}
