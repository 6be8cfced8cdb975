package sample

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// A golden is a case of testdata/goldens.json; testdata/make_goldens.py says what its fields mean.
type golden struct {
	Name    string
	Row     int
	Params  json.RawMessage // of Params, with Never: tokens of bias -Inf, which JSON cannot write
	History []int32
	Tokens  []int32
	Probs   []float64
}

func readGoldens(t *testing.T) (rows [][]float32, cases []golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Rows  [][]int
		Cases []golden
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, ints := range file.Rows {
		row := make([]float32, len(ints))
		for i, v := range ints {
			row[i] = float32(v) / 1024
		}
		rows = append(rows, row)
	}
	return rows, file.Cases
}

func (g golden) sampler(t *testing.T, vocab int) *Sampler {
	t.Helper()
	p := struct {
		Params
		Never []int32
	}{Params: Default()}
	if err := json.Unmarshal(g.Params, &p); err != nil {
		t.Fatal(err)
	}
	for _, id := range p.Never {
		p.LogitBias[id] = float32(math.Inf(-1))
	}
	s := newSampler(t, p.Params, vocab)
	s.Accept(g.History...)
	return s
}

// TestGoldens compares the tokens that a chain leaves, and their probabilities, with llama.cpp's.
func TestGoldens(t *testing.T) {
	rows, cases := readGoldens(t)
	for _, g := range cases {
		row := rows[g.Row]
		s := g.sampler(t, len(row))
		if err := s.load(row); err != nil {
			t.Fatal(err)
		}
		s.run()
		sum := s.c.softmax()
		left := slices.DeleteFunc(slices.Clone(s.c.list), func(x candidate) bool { return x.weight == 0 })
		slices.SortFunc(left, compare)

		var ids []int32
		for _, x := range left {
			ids = append(ids, x.id)
		}
		if !slices.Equal(ids, g.Tokens) {
			t.Errorf("row %d, %s:\n got %v\nwant %v", g.Row, g.Name, ids, g.Tokens)
			continue
		}
		for i, x := range left {
			// The file has six digits, and llama.cpp adds up in float32.
			if p := float64(x.weight) / sum; math.Abs(p-g.Probs[i]) > 6e-6*g.Probs[i] {
				t.Errorf("row %d, %s: token %d has probability %.8g, want %.8g", g.Row, g.Name, x.id, p, g.Probs[i])
			}
		}
	}
	t.Logf("%d cases", len(cases))
}

func newSampler(t testing.TB, p Params, vocab int) *Sampler {
	t.Helper()
	s, err := New(p, vocab)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
