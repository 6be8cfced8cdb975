package sample

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var inf = float32(math.Inf(1))

// bigVocab is about Llama 3's vocabulary.
const bigVocab = 128 * 1024

// noise returns normal logits of deviation 3, the first of them made likely.
func noise(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	row := make([]float32, n)
	for i := range row {
		row[i] = float32(3 * rng.NormFloat64())
	}
	for i := range min(n, 8) {
		row[rng.IntN(n)] = float32(18 - i)
	}
	return row
}

func sampleOne(t *testing.T, s *Sampler, logits []float32) int32 {
	t.Helper()
	id, err := s.Sample(logits)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// generate samples n tokens, each from a row of its own, and accepts them.
func generate(t *testing.T, s *Sampler, n int) []int32 {
	t.Helper()
	var ids []int32
	for range n {
		id := sampleOne(t, s, noise(uint64(s.Len()), s.vocab))
		s.Accept(id)
		ids = append(ids, id)
	}
	return ids
}

func TestTopK(t *testing.T) {
	with := func(f func(*Params)) Params { p := Default(); f(&p); return p }
	tests := []struct {
		name string
		p    Params
		want int
	}{
		{"default", Default(), 40},
		{"larger than the vocabulary", with(func(p *Params) { p.TopK = 5000 }), 1000},
		{"off", with(func(p *Params) { p.TopK = 0 }), 0},
		{"1", with(func(p *Params) { p.TopK = 1 }), 1},
		{"temperature 0", with(func(p *Params) { p.Temp = 0 }), 1},
		{"temperature -1", with(func(p *Params) { p.Temp = -1 }), 1},
		{"temperature 0, no sampler for it", with(func(p *Params) { p.Temp, p.Samplers = 0, []string{"top_p"} }), 0},
		{"temperature 0, nothing else", with(func(p *Params) { p.Temp, p.Samplers = 0, []string{"temperature"} }), 1},
		{"temperature 0 and bias", with(func(p *Params) { p.Temp, p.LogitBias = 0, map[int32]float32{7: 1} }), 0},
		{"temperature 0 and a penalty", with(func(p *Params) { p.Temp, p.RepeatPenalty = 0, 1.1 }), 0},
		{"temperature 0 and a penalty over no token", with(func(p *Params) { p.Temp, p.RepeatPenalty, p.RepeatLastN = 0, 1.1, 0 }), 1},
		{"temperature 0 and dry", with(func(p *Params) { p.Temp, p.DryMultiplier = 0, 1 }), 0},
		{"temperature 0 and typ_p, which may drop the best", with(func(p *Params) { p.Temp, p.TypP = 0, 0.9 }), 40},
		{"temperature 0 and xtc, which may drop the best", with(func(p *Params) { p.Temp, p.XTCProbability = 0, 0.5 }), 40},
		{"top_p before top_k", with(func(p *Params) { p.Samplers = []string{"top_p", "top_k"} }), 0},
	}
	for _, tt := range tests {
		s := newSampler(t, tt.p, 1000)
		if got := s.TopK(); got != tt.want || s.Greedy() != (got == 1) {
			t.Errorf("%s: got %d, greedy %t, want %d", tt.name, got, s.Greedy(), tt.want)
		}
	}
}

// TestSampleTop: the largest logits alone give the token that the whole row gives.
func TestSampleTop(t *testing.T) {
	for _, temp := range []float32{0, 0.8} {
		p := Default()
		p.Seed, p.Temp = 5, temp
		s := newSampler(t, p, 1000)
		for range 50 {
			row := noise(uint64(s.Len()), s.vocab)
			row[3], row[5] = 30, 30 // two best
			ids := make([]int32, len(row))
			for i := range ids {
				ids[i] = int32(i)
			}
			slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
			ids = slices.Clone(ids[:s.TopK()])
			slices.Reverse(ids)
			logits := make([]float32, len(ids))
			for i, id := range ids {
				logits[i] = row[id]
			}
			got, err := s.SampleTop(ids, logits)
			if want := sampleOne(t, s, row); err != nil || got != want {
				t.Fatalf("temperature %g, position %d: got %d (%v), want %d", temp, s.Len(), got, err, want)
			}
			s.Accept(got)
		}
	}
}

// TestTies: of equal logits the lower token is the better one, on every way to the best.
func TestTies(t *testing.T) {
	row := make([]float32, 3000)
	for _, i := range []int{2999, 1700, 1234, 2000} {
		row[i] = 4
	}
	for _, samplers := range []string{"temperature", "top_k;temperature", "top_p;temperature", "min_p;temperature", "typ_p;temperature"} {
		p := Default()
		p.Temp, p.TypP, p.Samplers = 0, 0.99, ParseSamplers(samplers)
		if got := sampleOne(t, newSampler(t, p, len(row)), row); got != 1234 {
			t.Errorf("%s: got %d, want 1234", samplers, got)
		}
	}
	p := Default()
	p.TopK, p.Samplers = 3, []string{"top_k"}
	s := newSampler(t, p, len(row))
	if err := s.load(row); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.c.list[0].id, s.c.list[1].id, s.c.list[2].id); got != "1234 1700 2000" {
		t.Errorf("the best three are %s, want 1234 1700 2000", got)
	}
}

// TestBadLogits: NaN and +Inf anywhere in the row, and rows without a choice, are errors for every chain.
func TestBadLogits(t *testing.T) {
	nan := float32(math.NaN())
	chains := append(Names(), "", strings.Join(Names(), ";"), "typ_p;penalties;xtc;top_p", "temperature;min_p;top_k;dry")
	for _, chain := range chains {
		for _, temp := range []float32{0, 1.5} {
			p := Default()
			p.TypP, p.TopNSigma, p.XTCProbability, p.Temp = 0.9, 1, 1, temp
			p.RepeatPenalty, p.PresencePenalty, p.DryMultiplier = 1.1, 0.5, 1
			p.Samplers = ParseSamplers(chain)
			s := newSampler(t, p, 200)
			s.Accept(1, 2, 3, 1, 2, 3, 1, 2)
			for _, at := range []int{0, 17, 199} {
				for _, bad := range []float32{nan, inf} {
					row := noise(1, 200)
					row[at] = bad
					_, err := s.Sample(row)
					if want := fmt.Sprintf("sample: the logit of token %d is %v", at, bad); err == nil || !strings.HasPrefix(err.Error(), want) {
						t.Errorf("%q, logit %d is %v: error %v", chain, at, bad, err)
					}
				}
			}
			none := slices.Repeat([]float32{-inf}, 200)
			if id, err := s.Sample(none); err == nil {
				t.Errorf("%q: token %d from logits of -Inf", chain, id)
			}
			none[77] = -3
			if id := sampleOne(t, s, none); id != 77 {
				t.Errorf("%q: token %d, want 77, the only one with a logit", chain, id)
			}
			// Extremes must neither hang nor choose what is ruled out.
			none[78], none[79], none[80] = math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32
			if id, err := s.Sample(none); err == nil && (id < 77 || id > 80) {
				t.Errorf("%q: token %d is ruled out", chain, id)
			}
		}
	}
}

func TestLogitBiasRulesOut(t *testing.T) {
	p := Default()
	p.Temp, p.LogitBias = 0, map[int32]float32{2: -inf, 0: 1}
	s := newSampler(t, p, 4)
	if got := sampleOne(t, s, []float32{2.5, 3, 9, 1}); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
	p.LogitBias = map[int32]float32{0: -inf, 1: -inf, 2: -inf, 3: -inf}
	if id, err := newSampler(t, p, 4).Sample([]float32{1, 2, 3, 4}); err == nil {
		t.Errorf("token %d, though each is ruled out", id)
	}
	p.LogitBias = map[int32]float32{4: 1}
	if _, err := New(p, 4); err == nil || err.Error() != "--logit-bias 4: want a token from 0 to 3" {
		t.Errorf("token 4 of 4: error %v", err)
	}
}

// TestSameSeed: a seed gives the same tokens again, another seed others, and Sample leaves the row and its own state alone.
func TestSameSeed(t *testing.T) {
	p := Default()
	p.Seed, p.RepeatPenalty, p.Temp = 42, 1.2, 2
	a, b := newSampler(t, p, 500), newSampler(t, p, 500)
	row := noise(9, 500)
	before := slices.Clone(row)
	if x, y := sampleOne(t, a, row), sampleOne(t, a, row); x != y {
		t.Errorf("the same position gives %d and then %d", x, y)
	}
	if !slices.Equal(row, before) {
		t.Error("Sample changed the logits")
	}
	first := generate(t, a, 40)
	if second := generate(t, b, 40); !slices.Equal(first, second) {
		t.Errorf("seed 42 gives\n%v, then\n%v", first, second)
	}
	a.Reset()
	if again := generate(t, a, 40); !slices.Equal(again, first) {
		t.Errorf("after Reset\n%v, want\n%v", again, first)
	}
	a.Reset()
	a.Reseed(43)
	if other := generate(t, a, 40); slices.Equal(other, first) {
		t.Error("seeds 42 and 43 give the same tokens")
	}
	p.Seed = -1
	if x, y := newSampler(t, p, 500).Seed(), newSampler(t, p, 500).Seed(); x < 0 || x == y {
		t.Errorf("two random seeds are %d and %d", x, y)
	}
}

// TestPinnedTokens pins the random stream: whoever changes it breaks the answers that people kept a seed for.
func TestPinnedTokens(t *testing.T) {
	p := Default()
	p.Seed, p.Temp, p.MinP = 1, 3, 0
	want := "[1 0 0 1 0 1 2 0 0 1 0 2]"
	s := newSampler(t, p, 4)
	var got []int32
	for range 12 {
		id := sampleOne(t, s, []float32{3, 2, 1, 0})
		s.Accept(id)
		got = append(got, id)
	}
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestTruncate: going back and on again gives the same tokens, with every sampler that looks at the history.
func TestTruncate(t *testing.T) {
	p := Default()
	p.Seed, p.Temp = 3, 2
	p.RepeatPenalty, p.PresencePenalty, p.FrequencyPenalty, p.RepeatLastN = 1.3, 0.4, 0.2, 10
	p.DryMultiplier, p.XTCProbability, p.DryLastN = 0.8, 0.5, -1
	for _, lastN := range []int{10, -1} {
		p.RepeatLastN = lastN
		s := newSampler(t, p, 300)
		s.Accept(generate(t, newSampler(t, p, 300), 25)...) // a prompt
		first := generate(t, s, 30)
		for _, n := range []int{40, 25, 26, 25} {
			s.Truncate(n)
			if got := generate(t, s, 30); !slices.Equal(got[:55-n], first[n-25:]) {
				t.Fatalf("from position %d\n%v, want\n%v", n, got, first[n-25:])
			}
		}
		want := newSampler(t, p, 300)
		want.Accept(s.history...)
		if !equalMaps(s.counts, want.counts) {
			t.Errorf("counts\n%v, want\n%v", s.counts, want.counts)
		}
	}
}

func equalMaps(a, b map[int32]int32) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestDistribution holds the frequencies of draws against the probabilities of the chain, by chi-square.
func TestDistribution(t *testing.T) {
	row := []float32{2, -1, 0.5, 1.5, -3, 0, 1, -0.5}
	for _, chain := range []string{"", "top_k;temperature", "top_p", "typ_p", "min_p;xtc"} {
		p := Default()
		p.Seed, p.TopK, p.Temp, p.TopP, p.TypP = 11, 6, 1.4, 0.9, 0.9
		p.XTCProbability, p.XTCThreshold = 0, 0.1
		p.Samplers = ParseSamplers(chain)
		s := newSampler(t, p, len(row))
		if err := s.load(row); err != nil {
			t.Fatal(err)
		}
		s.run()
		sum := s.c.softmax()
		prob := map[int32]float64{}
		for _, x := range s.c.list {
			prob[x.id] = float64(x.weight) / sum
		}

		const n = 20000
		count := map[int32]int{}
		for range n {
			id := sampleOne(t, s, row)
			count[id]++
			s.Accept(id)
		}
		chi2, cells := 0.0, 0
		for id := range int32(len(row)) {
			if want := prob[id] * n; want > 0 {
				chi2 += (float64(count[id]) - want) * (float64(count[id]) - want) / want
				cells++
			} else if count[id] > 0 {
				t.Errorf("%q: token %d was drawn, but is not left", chain, id)
			}
		}
		// 24.3 is the 99.9 % point at 7 degrees of freedom, the most that a chain here leaves.
		if chi2 > 24.3 {
			t.Errorf("%q: chi-square %.1f over %d tokens", chain, chi2, cells)
		}
	}
}

// TestXTC: the best are dropped as often as XTCProbability says, independently of the draw of the token.
func TestXTC(t *testing.T) {
	p := Default()
	p.Seed, p.XTCProbability, p.XTCThreshold, p.Samplers = 2, 0.3, 0.2, []string{"xtc"}
	s := newSampler(t, p, 3)
	const n = 20000
	count := [3]int{}
	for range n { // probabilities 0.5, 0.3 and 0.2; when xtc strikes, the last remains
		id := sampleOne(t, s, []float32{float32(math.Log(0.5)), float32(math.Log(0.3)), float32(math.Log(0.19999))})
		count[id]++
		s.Accept(id)
	}
	// With 0.2 just below the threshold, the second and third stay: 0.7·(0.5, 0.3, 0.2) + 0.3·(0, 0.6, 0.4).
	for i, want := range []float64{0.35, 0.39, 0.26} {
		if got := float64(count[i]) / n; math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/n) {
			t.Errorf("token %d: frequency %.4f, want %.2f", i, got, want)
		}
	}
}

func TestWrongUsePanics(t *testing.T) {
	s := newSampler(t, Default(), 10)
	for name, f := range map[string]func(){
		"a short row":      func() { s.Sample(make([]float32, 9)) },
		"too few of top k": func() { s.SampleTop(make([]int32, 3), make([]float32, 3)) },
		"a foreign token":  func() { s.Accept(10) },
		"a later position": func() { s.Truncate(1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

var chains = []struct {
	name string
	set  func(*Params)
}{
	{"greedy", func(p *Params) { p.Temp = 0 }},
	{"default", func(p *Params) {}},
	{"penalties", func(p *Params) { p.RepeatPenalty, p.FrequencyPenalty = 1.1, 0.1 }},
	{"dry", func(p *Params) { p.DryMultiplier, p.DryLastN = 0.8, -1 }},
	{"bias", func(p *Params) { p.LogitBias = map[int32]float32{2: -inf} }},
	{"top_k=0", func(p *Params) { p.TopK = 0 }},
	{"min_p", func(p *Params) { p.TopK, p.TopP = 0, 1 }},
	{"typ_p", func(p *Params) { p.TopK, p.TypP = 0, 0.9 }},
	{"top_n_sigma", func(p *Params) { p.TopNSigma = 1 }},
	{"everything", func(p *Params) {
		p.RepeatPenalty, p.DryMultiplier, p.TopNSigma, p.TypP, p.XTCProbability = 1.1, 0.8, 3, 0.9, 0.5
	}},
	{"none", func(p *Params) { p.Samplers = nil }},
}

// TestAllocs: sampling and accepting a token allocate nothing once the buffers have grown.
func TestAllocs(t *testing.T) {
	row := noise(1, 4000)
	for _, c := range chains {
		p := Default()
		c.set(&p)
		s := newSampler(t, p, len(row))
		step := func() {
			id, err := s.Sample(row)
			if err != nil {
				t.Fatal(err)
			}
			s.Accept(id)
		}
		for range 300 {
			step()
		}
		s.Truncate(100)
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: %g allocations a token", c.name, n)
		}
	}
}

// BenchmarkSample reads a row of Llama 3's size a token.
func BenchmarkSample(b *testing.B) {
	row := noise(1, bigVocab)
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			p := Default()
			c.set(&p)
			s := newSampler(b, p, len(row))
			for i := range 1000 {
				s.Accept(int32(i * 7 % 300))
			}
			b.SetBytes(4 * bigVocab)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sample(row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
