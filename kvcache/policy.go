package kvcache

import (
	"fmt"
	"strings"

	"mustafar/backend"
	"mustafar/sparse"
)

// Policy says which rows are compressed, how, and when.
//
// The first Sinks tokens and the newest Window stay dense. When the dense rows behind the sinks number Window + Group, the oldest Group of them are
// compressed together, so that token t (from 0) sees max(0, ⌊(t-Sinks-Window)/Group⌋)·Group compressed tokens: the one that fills the group has already attended.
type Policy struct {
	K, V      sparse.Codec
	Window    int
	Group     int // a multiple of 64
	Sinks     int
	Streaming bool // a prompt is compressed while it passes, as decoding would; otherwise it sees itself dense
}

// Defaults of the policy's numbers.
const (
	DefaultWindow = 32
	DefaultGroup  = 256
	DefaultSinks  = 4 // where anything is compressed; the paper has none
)

// Dense is the policy that never compresses.
var Dense = Policy{Window: DefaultWindow, Group: DefaultGroup}

// Pruned returns the policy that prunes K and V at sparsity, with sinks.
func Pruned(sparsity float64, v sparse.Values) Policy {
	c := sparse.Sparse(sparsity, v)
	return Policy{K: c, V: c, Window: DefaultWindow, Group: DefaultGroup, Sinks: DefaultSinks}
}

// Paper returns Mustafar as its authors define it, with exact counts: fp16 values and no sinks. (arXiv 2505.22913)
func Paper(sparsity float64) Policy {
	p := Pruned(sparsity, sparse.F16)
	p.Sinks = 0
	return p
}

// Named returns a policy by what --cache calls it: dense, paper or paper:S, or any codec for K and V both.
func Named(name string) (Policy, error) {
	kind, arg, hasArg := strings.Cut(name, ":")
	switch {
	case name == "dense":
		return Dense, nil
	case kind == "paper":
		s := 0.5
		if hasArg {
			var err error
			if s, err = sparse.ParseSparsity(arg); err != nil {
				return Policy{}, fmt.Errorf("cache %q: %w", name, err)
			}
		}
		return Paper(s), nil
	}
	c, err := sparse.Parse(name, sparse.I8)
	if err != nil && kind != "sparse" {
		return Policy{}, fmt.Errorf("cache %q is not known: want dense, paper[:S] or a codec: f16, i16, i8, sparse:S[:f16|i16|i8|i4]", name)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("cache: %w", err)
	}
	p := Policy{K: c, V: c, Window: DefaultWindow, Group: DefaultGroup}
	if p.Compacts() {
		p.Sinks = DefaultSinks
	}
	return p, nil
}

// Compacts reports whether anything is ever compressed.
func (p Policy) Compacts() bool { return !p.K.IsDense() || !p.V.IsDense() }

// Validate reports the first number that makes no sense.
func (p Policy) Validate() error {
	switch {
	case p.Window < 0:
		return fmt.Errorf("window %d: want 0 or more tokens", p.Window)
	case p.Group <= 0 || p.Group%backend.BlockRows != 0:
		return fmt.Errorf("group %d: want a multiple of %d tokens", p.Group, backend.BlockRows)
	case p.Sinks < 0 || p.Sinks > backend.BlockRows:
		return fmt.Errorf("sinks %d: want 0 to %d tokens", p.Sinks, backend.BlockRows)
	}
	return nil
}

// Compressed returns how many of the first n tokens are compressed after a prompt of n, or before token n attends while decoding.
func (p Policy) Compressed(n int) int {
	if !p.Compacts() {
		return 0
	}
	return max(0, (n-p.Sinks-p.Window)/p.Group) * p.Group
}
