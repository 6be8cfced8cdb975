package kvcache

import "mustafar/backend"

// Seq names a sequence of a Cache.
type Seq int

// Batch is what one forward pass works on: rows of (sequence, position, token), those of a sequence one after the other. A decode step is one row;
// the same batch may hold steps of many sequences and prompts.
type Batch struct {
	Tokens []int32
	Pos    []int32
	Runs   []backend.Run
	Wants  []int // rows whose logits are wanted
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Tokens, b.Pos, b.Runs, b.Wants = b.Tokens[:0], b.Pos[:0], b.Runs[:0], b.Wants[:0]
}

// Step adds a decode step whose logits are wanted.
func (b *Batch) Step(seq Seq, pos int, token int32) {
	b.Wants = append(b.Wants, len(b.Tokens))
	b.add(backend.Run{Seq: int(seq), N: 1, Pos: pos, Step: true}, token)
}

// Prompt adds tokens of a prompt from position pos on; no logits are wanted.
func (b *Batch) Prompt(seq Seq, pos int, tokens ...int32) {
	b.add(backend.Run{Seq: int(seq), N: len(tokens), Pos: pos}, tokens...)
}

// WantLast asks for the logits of the row added last.
func (b *Batch) WantLast() { b.Wants = append(b.Wants, len(b.Tokens)-1) }

func (b *Batch) add(r backend.Run, tokens ...int32) {
	r.Row = len(b.Tokens)
	b.Runs = append(b.Runs, r)
	for i, t := range tokens {
		b.Tokens = append(b.Tokens, t)
		b.Pos = append(b.Pos, int32(r.Pos+i))
	}
}
