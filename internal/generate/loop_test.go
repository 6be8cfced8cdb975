package generate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/gguf/synth"
	"mustafar/internal/generate"
	"mustafar/internal/sample"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/model/tokenizer"
)

const chunk, contextSize = 48, 512

// newLoop returns a loop on a small random model.
func newLoop(t *testing.T, p kvcache.Policy) *generate.Loop {
	t.Helper()
	path := filepath.Join(t.TempDir(), "random.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	m := synth.Model{Layers: 3, Embd: 128, FF: 192, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 400, OwnOutput: true, Seed: 3, Type: gguf.Q8_0}
	if err := errors.Join(m.Write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	b, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	l := &generate.Loop{Backend: b, Chunk: chunk, Ctx: contextSize}
	if l.Model, err = model.Load(file, b, nil); err != nil {
		t.Fatal(err)
	}
	if l.Tokenizer, err = tokenizer.New(file); err != nil {
		t.Fatal(err)
	}
	l.Cache = l.Model.NewCache(p)
	return l
}

// request makes job i of a test, whose answer the model does not end: prompts of 7, 48, 49, 200 … tokens, of less than a chunk, of one, and of several; greedy ones and drawn ones.
func request(t *testing.T, l *generate.Loop, i int) generate.Request {
	t.Helper()
	p := sample.Default()
	p.Seed, p.Temp = int64(i), float32(i%2)
	p.LogitBias = map[int32]float32{}
	for _, id := range l.Tokenizer.EOG() {
		p.LogitBias[id] = float32(math.Inf(-1))
	}
	s, err := sample.New(p, l.Tokenizer.Vocab())
	if err != nil {
		t.Fatal(err)
	}
	prompt := make([]int32, []int{7, 48, 49, 200, 96, 1}[i%6])
	for j := range prompt {
		prompt[j] = int32(3 + (i*31+j*j*7)%390)
	}
	return generate.Request{Seq: l.Cache.NewSeq(), Prompt: prompt, Sampler: s, Max: 90 + 7*i}
}

// Jobs that share passes give the answers that each gives alone, token for token, dense and where groups are compressed on the way.
func TestJobsSideBySide(t *testing.T) {
	small := kvcache.Pruned(0.5, 2) // int8 values
	small.Group, small.Window = 64, 16
	streaming := small
	streaming.Streaming = true
	for name, policy := range map[string]kvcache.Policy{"dense": kvcache.Dense, "sparse": small, "streaming": streaming} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, policy)
			const n = 6
			var alone, together [n]*generate.Job
			for i := range n {
				alone[i] = add(t, l, request(t, l, i))
				if err := l.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for i := range n {
				r := request(t, l, i)
				if i == 0 { // two more come while the others are under way
					r.Prompted = func() {
						together[4], together[5] = add(t, l, request(t, l, 4)), add(t, l, request(t, l, 5))
					}
				}
				if i < 4 {
					together[i] = add(t, l, r)
				}
			}
			if err := l.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				a, b := alone[i], together[i]
				if !slices.Equal(a.Tokens, b.Tokens) || a.Text != b.Text || a.Stop != b.Stop {
					t.Errorf("job %d alone: %q, %v; with others: %q, %v", i, a.Stop, a.Tokens, b.Stop, b.Tokens)
				}
				if len(a.Tokens) != a.Max || a.Stop != generate.StopLength || !a.Done() {
					t.Errorf("job %d: %d tokens, %s, want %d, %s", i, len(a.Tokens), a.Stop, a.Max, generate.StopLength)
				}
				if b.PromptN != len(b.Prompt) || b.PredictedN != b.Max-1 {
					t.Errorf("job %d: %d tokens of prompt, %d steps, want %d, %d", i, b.PromptN, b.PredictedN, len(b.Prompt), b.Max-1)
				}
			}
			if slices.Equal(alone[1].Tokens[:20], alone[3].Tokens[:20]) {
				t.Error("two prompts have one answer: the test compares nothing")
			}
		})
	}
}

func add(t *testing.T, l *generate.Loop, r generate.Request) *generate.Job {
	t.Helper()
	j, err := l.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// An answer fills the context to its last position, and one token more, which needs none.
func TestContextEnd(t *testing.T) {
	l := newLoop(t, kvcache.Dense)
	r := request(t, l, 3)
	r.Max = -1
	j := add(t, l, r)
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if j.Stop != generate.StopContext || len(j.Prompt)+len(j.Tokens) != contextSize+1 || l.Cache.Len(r.Seq) != contextSize {
		t.Errorf("%s after %d tokens of prompt and %d of answer, %d cached: want %s at %d", j.Stop, len(j.Prompt), len(j.Tokens), l.Cache.Len(r.Seq), generate.StopContext, contextSize)
	}
}

// What is emitted is the text, in whole runes as far as the tokens make any: the random model answers in single bytes. However many tokens there
// are, their bytes are all in it, those of a last rune that is not complete too.
func TestEmit(t *testing.T) {
	l := newLoop(t, kvcache.Dense)
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 300} {
		r := request(t, l, 1)
		r.Max = n
		var pieces []string
		r.Emit = func(s string) { pieces = append(pieces, s) }
		j := add(t, l, r)
		if err := l.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(pieces, ""); all != j.Text {
			t.Errorf("%d tokens: emitted %q, the text is %q", n, all, j.Text)
		}
		var bytes []byte
		for _, id := range j.Tokens {
			if !l.Tokenizer.IsSpecial(id) {
				bytes = append(bytes, l.Tokenizer.Piece(id)...)
			}
		}
		if string(bytes) != j.Text {
			t.Errorf("%d tokens: they are %q, the text is %q", n, bytes, j.Text)
		}
		for i := range len(pieces) - 1 {
			two := pieces[i] + pieces[i+1]
			if at := len(pieces[i]); !utf8.RuneStart(two[at]) && utf8.RuneCountInString(two) < utf8.RuneCountInString(two[:at])+utf8.RuneCountInString(two[at:]) {
				t.Errorf("%d tokens: a rune is cut between %q and %q", n, pieces[i], pieces[i+1])
			}
		}
	}
}

// A stop text ends the answer in front of it, in the middle of a pass that others share.
func TestStops(t *testing.T) {
	l := newLoop(t, kvcache.Dense)
	first := add(t, l, request(t, l, 1))
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	middle := len(first.Text) / 2
	for !utf8.RuneStart(first.Text[middle]) {
		middle++
	}
	stop := first.Text[middle : middle+8]
	r := request(t, l, 1)
	r.Stops = []string{"never said", stop}
	stopped, other := add(t, l, r), add(t, l, request(t, l, 0))
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := first.Text[:strings.Index(first.Text, stop)]; stopped.Stop != generate.StopText || stopped.Text != want {
		t.Errorf("%s with %q, want %s with %q", stopped.Stop, stopped.Text, generate.StopText, want)
	}
	if n := len(stopped.Tokens); n >= len(first.Tokens) || !slices.Equal(stopped.Tokens, first.Tokens[:n]) {
		t.Errorf("tokens %v, want a part of %v", stopped.Tokens, first.Tokens)
	}
	if other.Stop != generate.StopLength {
		t.Errorf("the other job: %s, want %s", other.Stop, generate.StopLength)
	}
}

// Cancelled, every job ends where it is: its text is kept, of a prompt on its way nothing stays in the cache, and the loop can go on with other jobs.
func TestInterrupt(t *testing.T) {
	for name, policy := range map[string]kvcache.Policy{"dense": kvcache.Dense, "paper": kvcache.Paper(0.5)} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, policy)
			full := add(t, l, request(t, l, 0))
			if err := l.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.Cache.Drop(full.Seq)

			ctx, cancel := context.WithCancel(t.Context())
			answering, waiting := request(t, l, 0), request(t, l, 1)
			reading := request(t, l, 3)
			reading.Progress = func(done, total int) {
				if done > 0 && done < total {
					cancel()
				}
			}
			jobs := []*generate.Job{add(t, l, answering), add(t, l, reading), add(t, l, waiting)}
			if err := l.Run(ctx); err != nil {
				t.Fatal(err)
			}
			for i, j := range jobs {
				if j.Stop != generate.StopInterrupt || !j.Done() {
					t.Errorf("job %d: %q, want %s", i, j.Stop, generate.StopInterrupt)
				}
			}
			if n := len(jobs[0].Tokens); n == 0 || n >= len(full.Tokens) || !slices.Equal(jobs[0].Tokens, full.Tokens[:n]) || !strings.HasPrefix(full.Text, jobs[0].Text) {
				t.Errorf("tokens %v, want the beginning of %v", jobs[0].Tokens, full.Tokens)
			}
			if n := jobs[1].PromptN; n <= 0 || n >= len(reading.Prompt) {
				t.Errorf("%d of %d tokens of the prompt passed, want some", n, len(reading.Prompt))
			}
			if u := l.Cache.UsageOf(reading.Seq); u.Bytes != 0 {
				t.Errorf("%d bytes are left of a prompt that did not pass", u.Bytes)
			}
			if jobs[2].PromptN != 0 || l.Cache.Len(reading.Seq) != 0 || l.Cache.Len(waiting.Seq) != 0 {
				t.Errorf("the cache holds %d and %d tokens of prompts that did not pass", l.Cache.Len(reading.Seq), l.Cache.Len(waiting.Seq))
			}
			for _, j := range jobs {
				l.Cache.Drop(j.Seq)
			}
			if u := l.Cache.Usage(); u.Bytes != 0 {
				t.Errorf("%d bytes are left", u.Bytes)
			}
			again := add(t, l, request(t, l, 0))
			if err := l.Run(t.Context()); err != nil || again.Text != full.Text {
				t.Errorf("afterwards: %q, %v, want %q", again.Text, err, full.Text)
			}
		})
	}
}

// A job that fails ends the run with its error; all texts so far are kept.
func TestFailure(t *testing.T) {
	l := newLoop(t, kvcache.Dense)
	p := sample.Default()
	p.LogitBias = map[int32]float32{}
	for id := range l.Tokenizer.Vocab() {
		p.LogitBias[int32(id)] = float32(math.Inf(-1))
	}
	mute, err := sample.New(p, l.Tokenizer.Vocab())
	if err != nil {
		t.Fatal(err)
	}
	good, bad := request(t, l, 0), request(t, l, 1)
	bad.Sampler = mute
	j := add(t, l, good)
	k := add(t, l, bad)
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "every token is ruled out") {
		t.Errorf("got %v, want the sampler's error", err)
	}
	if !j.Done() || !k.Done() || j.Text == "" || k.Text != "" {
		t.Errorf("texts %q and %q, want the first one's kept", j.Text, k.Text)
	}
	if _, err := l.Add(generate.Request{Seq: l.Cache.NewSeq()}); !errors.Is(err, generate.ErrEmptyPrompt) {
		t.Errorf("a request without tokens: %v, want %v", err, generate.ErrEmptyPrompt)
	}
}

func TestRates(t *testing.T) {
	tests := []struct {
		t              generate.Timings
		prompt, answer string
	}{
		{generate.Timings{}, "0", "0"},
		{generate.Timings{PromptN: 100, PromptTime: 4e9, PredictedN: 3, PredictedTime: 5e8}, "25", "6"},
		{generate.Timings{PromptN: 1}, "0", "0"},
	}
	for _, tt := range tests {
		if p, a := fmt.Sprint(tt.t.PromptRate()), fmt.Sprint(tt.t.PredictedRate()); p != tt.prompt || a != tt.answer {
			t.Errorf("%+v: %s and %s tokens a second, want %s and %s", tt.t, p, a, tt.prompt, tt.answer)
		}
	}
}
