package kvcache

// Usage is what a cache takes. Bytes are counted from the rows in use, shared ones once.
type Usage struct {
	Tokens     int   // of all sequences
	Compressed int   // of them
	Bytes      int64 // held now
	Allocated  int64 // memory taken for them
	Peak       int64 // the most that was held, a prompt's hidden states included
	Dense      int64 // what the tokens would take in dense fp16
}

// Ratio is Bytes / Dense, 1 for an empty cache.
func (u Usage) Ratio() float64 {
	if u.Dense == 0 {
		return 1
	}
	return float64(u.Bytes) / float64(u.Dense)
}

// Usage counts what the cache takes; marks count in Bytes, but not as tokens.
func (c *Cache) Usage() Usage {
	u := Usage{Bytes: c.bytes(), Peak: c.peak}
	marks := map[Seq]bool{}
	for _, s := range c.seqs {
		if s.live && s.mark != none {
			marks[s.mark] = true
		}
	}
	for i, s := range c.seqs {
		if !s.live || marks[Seq(i)] {
			continue
		}
		u.Tokens += s.n
		u.Compressed += c.stores[0].Packed(i)
	}
	for _, st := range c.stores {
		u.Allocated += st.Allocated()
		u.Dense += int64(u.Tokens) * int64(st.Spec().DenseRowBytes())
	}
	if !c.policy.Compacts() {
		u.Compressed = 0
	}
	return u
}

// UsageOf counts one sequence as if nothing of it were shared. Allocated and Peak are the whole cache's.
func (c *Cache) UsageOf(s Seq) Usage {
	u := Usage{Tokens: c.seqs[s].n, Peak: c.peak}
	for _, st := range c.stores {
		spec, packed, n := st.Spec(), st.Packed(int(s)), st.Len(int(s))
		u.Bytes += int64(packed*spec.PackedRowBytes() + (n-packed)*spec.DenseRowBytes())
		u.Dense += int64(n * spec.DenseRowBytes())
		u.Allocated += st.Allocated()
		u.Compressed = packed
	}
	return u
}

func (c *Cache) bytes() (n int64) {
	for _, st := range c.stores {
		n += st.Bytes()
	}
	return n
}

// Hold adds n bytes (taken back by -n) that exist for the cache's sake, a long prompt's hidden states, to what Peak sees.
func (c *Cache) Hold(n int64) {
	c.extra += n
	c.notePeak()
}

func (c *Cache) notePeak() { c.peak = max(c.peak, c.bytes()+c.extra) }

// Bytes returns what a cache of this policy and shape holds at n tokens of one sequence, after a prompt or while decoding.
func (p Policy) Bytes(s Shape, n int) int64 {
	packed := p.Compressed(n)
	row := p.K.RowBytes(s.HeadDim) + p.V.RowBytes(s.HeadDim)
	dense := 4 * s.HeadDim
	return int64(s.Layers) * int64(s.KVHeads) * (int64(packed)*int64(row) + int64(n-packed)*int64(dense))
}
