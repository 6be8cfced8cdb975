package kvcache

import (
	"testing"

	"mustafar/sparse"
)

func TestNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Policy
	}{
		{"dense", Policy{Window: 32, Group: 256}},
		{"f16", Policy{Window: 32, Group: 256}},
		{"paper", Policy{K: sparse.Sparse(0.5, sparse.F16), V: sparse.Sparse(0.5, sparse.F16), Window: 32, Group: 256}},
		{"paper:0.7", Policy{K: sparse.Sparse(0.7, sparse.F16), V: sparse.Sparse(0.7, sparse.F16), Window: 32, Group: 256}},
		{"sparse:0.7:i4", Policy{K: sparse.Sparse(0.7, sparse.I4), V: sparse.Sparse(0.7, sparse.I4), Window: 32, Group: 256, Sinks: 4}},
		{"sparse:0.5", Policy{K: sparse.Sparse(0.5, sparse.I8), V: sparse.Sparse(0.5, sparse.I8), Window: 32, Group: 256, Sinks: 4}},
		{"i8", Policy{K: sparse.Codec{Values: sparse.I8}, V: sparse.Codec{Values: sparse.I8}, Window: 32, Group: 256, Sinks: 4}},
	} {
		got, err := Named(tt.name)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, name := range []string{"", "papers", "paper:", "paper:1", "paper:x", "dense:0.5", "sparse", "q4_0"} {
		if p, err := Named(name); err == nil {
			t.Errorf("%q: %+v, want an error", name, p)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, p := range []Policy{{Window: -1, Group: 64}, {Group: 0}, {Group: 100}, {Group: -64}, {Group: 64, Sinks: -1}, {Group: 64, Sinks: 65}} {
		if p.Validate() == nil {
			t.Errorf("%+v: want an error", p)
		}
	}
	if err := (Policy{Group: 64}).Validate(); err != nil {
		t.Error(err)
	}
}
