package cli

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mustafar/kvcache"
	"mustafar/sparse"
)

// parseFor parses args with the flags of a command that runs a model.
func parseFor(args string) (m *modelFlags, words []string, err error) {
	f := newFlags("run")
	m = addModelFlags(f)
	words, err = f.parse(&env{stdout: &output{w: io.Discard}, stderr: io.Discard}, strings.Fields(args))
	return m, words, err
}

// The rules of the contract: --cache and --sparsity name a cache, -ctk and -ctv win over it, --values fills in what no name says, and 4 sinks stay
// dense where anything is compressed, none with paper.
func TestPolicy(t *testing.T) {
	s := sparse.Sparse
	policy := func(k, v sparse.Codec, sinks int) kvcache.Policy {
		return kvcache.Policy{K: k, V: v, Window: 32, Group: 256, Sinks: sinks}
	}
	both := func(c sparse.Codec, sinks int) kvcache.Policy { return policy(c, c, sinks) }
	i8, i16 := sparse.Codec{Values: sparse.I8}, sparse.Codec{Values: sparse.I16}
	streaming := both(s(0.5, sparse.I8), 4)
	streaming.Streaming = true
	tests := []struct {
		args string
		want kvcache.Policy
	}{
		{"", kvcache.Dense},
		{"--cache dense", kvcache.Dense},
		{"--cache paper", both(s(0.5, sparse.F16), 0)},
		{"--cache paper:0.7", both(s(0.7, sparse.F16), 0)},
		{"--cache paper --sparsity 0.7", both(s(0.7, sparse.F16), 0)},
		{"--sparsity 0.7 --cache paper:0.5", both(s(0.7, sparse.F16), 0)},
		{"--cache paper --values i4", both(s(0.5, sparse.I4), 0)},
		{"--cache paper --sinks 8", both(s(0.5, sparse.F16), 8)},
		{"--cache paper -ctv f16", policy(s(0.5, sparse.F16), sparse.Dense, 0)},
		{"--sparsity 0.5", both(s(0.5, sparse.I8), 4)},
		{"--sparsity 0.5 --values f16", both(s(0.5, sparse.F16), 4)},
		{"--sparsity 0 --sinks 0", both(s(0, sparse.I8), 0)},
		{"--cache sparse:0.6", both(s(0.6, sparse.I8), 4)},
		{"--cache sparse:0.6 --values i16", both(s(0.6, sparse.I16), 4)},
		{"--cache sparse:0.6:i4 --values i16", both(s(0.6, sparse.I4), 4)},
		{"--cache i8", both(i8, 4)},
		{"-ctk sparse:0.7", policy(s(0.7, sparse.I8), sparse.Dense, 4)},
		{"-ctk sparse:0.7 --values i4 -ctv i16", policy(s(0.7, sparse.I4), i16, 4)},
		{"-ctk sparse:0.7:f16 -ctv sparse:0.5 --values i4", policy(s(0.7, sparse.F16), s(0.5, sparse.I4), 4)},
		{"--sparsity 0.5 -ctk f16 -ctv f16", kvcache.Dense},
		{"--sparsity 0.5 -ctv i8", policy(s(0.5, sparse.I8), i8, 4)},
		{"--sparsity 0.5 --prefill streaming", streaming},
		{"--sparsity 0.5 --window 0 --group 64 --sinks 64", kvcache.Policy{K: s(0.5, sparse.I8), V: s(0.5, sparse.I8), Group: 64, Sinks: 64}},
		{"-cache=paper", both(s(0.5, sparse.F16), 0)},
	}
	for _, tt := range tests {
		m, _, err := parseFor(tt.args)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if got, err := m.policy(); err != nil || got != tt.want {
			t.Errorf("%s: %v, want -, got +\n%s", tt.args, err, cmp.Diff(tt.want, got))
		}
	}
}

// A list of caches, as compare and inspect take it, has the same rules.
func TestCacheList(t *testing.T) {
	m, _, err := parseFor("--values i4 --window 64")
	if err != nil {
		t.Fatal(err)
	}
	got, names, err := m.list("dense, paper:0.7,sparse:0.5,sparse:0.5:f16")
	if err != nil {
		t.Fatal(err)
	}
	want := []kvcache.Policy{{Window: 64, Group: 256}, kvcache.Paper(0.7), kvcache.Pruned(0.5, sparse.I4), kvcache.Pruned(0.5, sparse.F16)}
	for i := range want {
		want[i].Window = 64
	}
	want[1].K.Values, want[1].V.Values = sparse.I4, sparse.I4
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	if !slices.Equal(names, []string{"dense", "paper:0.7", "sparse:0.5", "sparse:0.5:f16"}) {
		t.Errorf("names %q", names)
	}
}

func TestWantsGPU(t *testing.T) {
	tests := []struct {
		args string
		want gpu
		bad  bool
	}{
		{"", maybe, false},
		{"-ngl 0", never, false},
		{"-ngl 30", hoped, false},
		{"-ngl 99", hoped, false},
		{"-ngl all", hoped, false},
		{"-ngl auto", maybe, false},
		{"-ngl -1", maybe, false},
		{"-ngl 29", 0, true},
		{"-ngl -2", 0, true},
		{"-ngl few", 0, true},
		{"--device cpu", never, false},
		{"--device cpu -ngl all", never, false},
		{"--device cuda", must, false},
		{"--device cuda:1", must, false},
		{"--device cuda -ngl 31", must, false},
		{"--device cuda -ngl all", must, false},
		{"--device cuda -ngl 0", 0, true},
		{"--device cuda:", 0, true},
		{"--device cuda:-1", 0, true},
		{"--device cpu:0", 0, true},
		{"--device auto:0", 0, true},
		{"--device vulkan", 0, true},
	}
	for _, tt := range tests {
		m, _, err := parseFor(tt.args)
		if err != nil {
			t.Fatalf("%s: %v", tt.args, err)
		}
		got, err := m.wantsGPU(30)
		var usage usageError
		if bad := errors.As(err, &usage); got != tt.want || bad != tt.bad {
			t.Errorf("%s: %v, %v, want %v, usage error %t", tt.args, got, err, tt.want, tt.bad)
		}
	}
}

// Flags and words may mix; behind -- everything is a word, and a flag takes what follows it, whatever it looks like.
func TestParse(t *testing.T) {
	tests := []struct {
		args  string
		words []string
	}{
		{"", nil},
		{"one -t 1 two --window 3 three", []string{"one", "two", "three"}},
		{"-t 1 -- -t 2", []string{"-t", "2"}},
		{"one -- -x -- y", []string{"one", "-x", "--", "y"}},
		{"-m -v one -", []string{"one", "-"}},
		{"-v=false -v one", []string{"one"}},
	}
	for _, tt := range tests {
		_, words, err := parseFor(tt.args)
		if err != nil || !slices.Equal(words, tt.words) {
			t.Errorf("%s: %q, %v, want %q", tt.args, words, err, tt.words)
		}
	}
	if m, _, err := parseFor("-m -v"); err != nil || m.path != "-v" || m.verbose {
		t.Errorf("-m -v: %v, model %q, verbose %t", err, m.path, m.verbose)
	}
}

// llama.cpp's list of escapes, common/common.cpp.
func TestUnescape(t *testing.T) {
	tests := [][2]string{
		{`plain`, "plain"},
		{`a\nb\tc\rd`, "a\nb\tc\rd"},
		{`\"\'\\`, `"'\`},
		{`\x41\x0a`, "A\n"},
		{`\xf0\x9f\x8e\x89`, "🎉"},
		{`\x4`, `\x4`},
		{`\xZZ`, `\xZZ`},
		{`\q`, `\q`},
		{`end\`, `end\`},
		{`\\n`, `\n`},
		{``, ``},
	}
	for _, tt := range tests {
		if got := unescape(tt[0]); got != tt[1] {
			t.Errorf("%s: %q, want %q", tt[0], got, tt[1])
		}
	}
}
