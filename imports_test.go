package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// order is the way data flows through the packages, as the README draws it: a package imports only what stands in a line below its own. Packages that
// share a line do not import each other.
var order = [][]string{
	{"mustafar"},
	{"internal/cli"},
	{"internal/bench", "internal/eval"},
	{"internal/generate"},
	{"internal/report", "internal/sample"},
	{"model"},
	{"model/tokenizer"},
	{"kvcache"},
	{"backend/cpu", "backend/cuda", "backend/conformance"},
	{"backend"},
	{"gguf/synth"},
	{"gguf", "sparse"},
}

// alone import nothing of ours; onlyCLI are imported by internal/cli alone.
var (
	alone   = []string{"internal/report", "internal/sample", "gguf", "sparse"}
	onlyCLI = []string{"backend/cpu", "backend/cuda"}
)

func TestImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	line := map[string]int{}
	for i, packages := range order {
		for _, p := range packages {
			line[p] = i
		}
	}
	name := func(path string) string { return strings.TrimPrefix(path, "mustafar/") }
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(l)
		from := name(words[0])
		if strings.HasPrefix(from, "scripts/") {
			continue // tools beside the program
		}
		at, known := line[from]
		if !known {
			t.Errorf("%s has no place in the order of imports", from)
			continue
		}
		for _, path := range words[1:] {
			if !strings.HasPrefix(path, "mustafar/") {
				continue
			}
			to := name(path)
			if line[to] <= at {
				t.Errorf("%s imports %s, which does not lie below it", from, to)
			}
			if slices.Contains(alone, from) {
				t.Errorf("%s imports %s: it should import nothing of ours", from, to)
			}
			if slices.Contains(onlyCLI, to) && from != "internal/cli" {
				t.Errorf("%s imports %s: only internal/cli chooses the device", from, to)
			}
		}
	}
}
