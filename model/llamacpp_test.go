package model_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/gguf/synth"
	"mustafar/kvcache"
	"mustafar/model"
)

const demoModel = "../models/SmolLM2-135M-Instruct.Q4_1.gguf"

// llamaGoldens are what llama.cpp finds; testdata/make_llamacpp.py writes them and says what the fields are.
type llamaGoldens struct {
	Greedy struct{ File, Exact llamaGreedy }
	Models []llamaGolden
}

type llamaGreedy struct {
	Prompt, IDs []int32
	Margin      []float64
}

type llamaGolden struct {
	Flags       []string
	SHA256      string
	IDs         []int32
	Columns, At []int
	Top         []int32
	Margin      []float64
	File, Exact []float64 // (At, Columns)
}

func readLlamaGoldens(t *testing.T) (g llamaGoldens) {
	t.Helper()
	text, err := os.ReadFile("testdata/llamacpp.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g llamaGolden) name() string {
	if g.Flags == nil {
		return "demo"
	}
	return strings.Join(g.Flags, " ")
}

// levels are the SIMD levels to try: all of them with small models.
func (g llamaGolden) levels() []string {
	if g.Flags == nil {
		return cpu.Levels()[:1]
	}
	return cpu.Levels()
}

// file returns the path of the golden's model, made anew if it is a random one, and checks that it is the one that llama.cpp saw.
func (g llamaGolden) file(t *testing.T) string {
	t.Helper()
	path, wrong := demoModel, "is another file: run make model"
	if g.Flags != nil {
		path, wrong = filepath.Join(t.TempDir(), "random.gguf"), "is not the one that llama.cpp saw, for gguf/synth has changed: run model/testdata/make_llamacpp.py"
		g.write(t, path)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v: run make model", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != g.SHA256 {
		t.Fatalf("the model, SHA-256 %s, %s", got, wrong)
	}
	return path
}

func (g llamaGolden) write(t *testing.T, path string) {
	t.Helper()
	fs := flag.NewFlagSet("randmodel", flag.ContinueOnError)
	made := synth.Flags(fs)
	if err := fs.Parse(g.Flags); err != nil {
		t.Fatal(err)
	}
	m, err := made()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := m.Write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// session is one sequence of a model on the CPU, with a dense cache.
type session struct {
	t     *testing.T
	b     *cpu.CPU
	m     *model.Model
	c     *kvcache.Cache
	seq   kvcache.Seq
	batch kvcache.Batch
}

func newSession(t *testing.T, path string, o cpu.Options) *session {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatalf("%v: run make model", err) // a random one is there
	}
	t.Cleanup(func() { f.Close() })
	b, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	m, err := model.Load(f, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := m.NewCache(kvcache.Dense)
	return &session{t: t, b: b, m: m, c: c, seq: c.NewSeq()}
}

// prompt returns the logits of all its tokens, one row after the other; decode those of one.
func (s *session) prompt(ids ...int32) []float32 {
	s.batch.Reset()
	s.batch.Prompt(s.seq, s.c.Len(s.seq), ids...)
	for i := range ids {
		s.batch.Wants = append(s.batch.Wants, i)
	}
	return s.forward()
}

func (s *session) decode(id int32) []float32 {
	s.batch.Reset()
	s.batch.Step(s.seq, s.c.Len(s.seq), id)
	return s.forward()
}

func (s *session) forward() []float32 {
	s.t.Helper()
	logits := make([]float32, len(s.batch.Wants)*s.m.Vocab)
	if err := s.b.Read(logits, s.m.Forward(s.c, &s.batch)); err != nil {
		s.t.Fatal(err)
	}
	return logits
}

// logits returns the golden's positions of a model's logits: all but the last ten tokens pass as a prompt, those are decoded.
func (g llamaGolden) logits(s *session) (rows [][]float32) {
	n := len(g.IDs) - 10
	all := s.prompt(g.IDs[:n]...)
	for _, id := range g.IDs[n:] {
		all = append(all, s.decode(id)...)
	}
	for _, at := range g.At {
		rows = append(rows, all[at*s.m.Vocab:][:s.m.Vocab])
	}
	return rows
}

// hold compares rows with llama.cpp's logits: RMS of the differences over RMS of the logits, and the most likely token wherever it leads by more than five
// times the RMS of the differences.
func (g llamaGolden) hold(t *testing.T, what string, rows [][]float32, want []float64, bound float64) {
	t.Helper()
	var got []float64
	for _, row := range rows {
		for _, c := range g.Columns {
			got = append(got, float64(row[c]))
		}
	}
	diff := rmsOfDifference(got, want)
	if ratio := diff / rms(want); !(ratio <= bound) {
		t.Errorf("%s: logits differ by %.3f %%, want at most %.3f %%", what, 100*ratio, 100*bound)
	}
	for i, row := range rows {
		if top := argMax(row); top != g.Top[i] && g.Margin[i] > 5*diff {
			t.Errorf("%s: position %d: token %d is the most likely, want %d, which leads by %.2g, %.1f times the RMS of the differences", what, g.At[i], top, g.Top[i], g.Margin[i], g.Margin[i]/diff)
		}
	}
}

func rms(x []float64) float64 { return rmsOfDifference(x, make([]float64, len(x))) }

func rmsOfDifference(x, y []float64) float64 {
	sum := 0.0
	for i := range x {
		sum += (x[i] - y[i]) * (x[i] - y[i])
	}
	return math.Sqrt(sum / float64(len(x)))
}

func argMax(x []float32) int32 { return int32(slices.Index(x, slices.Max(x))) }

// Logits are llama.cpp's, for every type, shape and RoPE. Where weights are quantised llama.cpp rounds activations to 8 bits; on the same weights unpacked to
// F32 it has nothing to round, and what is left of a difference to --act f32 is the order of sums and the fp16 of the cache. What its own rounding does
// to a model, own, is a bound on how near to it anything can be expected.
func TestLlamaCpp(t *testing.T) {
	for _, g := range readLlamaGoldens(t).Models {
		t.Run(g.name(), func(t *testing.T) {
			path := g.file(t)
			own := rmsOfDifference(g.File, g.Exact) / rms(g.Exact)
			for _, level := range g.levels() {
				t.Run(level, func(t *testing.T) {
					f32 := g.logits(newSession(t, path, cpu.Options{F32: true, Level: level}))
					q8 := g.logits(newSession(t, path, cpu.Options{Level: level}))
					g.hold(t, "f32, weights unpacked", f32, g.Exact, 0.001)
					g.hold(t, "f32", f32, g.File, max(0.01, 1.1*own))
					g.hold(t, "q8", q8, g.File, max(0.02, 1.5*own)) // two roundings, hardly alike
				})
			}
		})
	}
}

// The demo model goes on as with llama.cpp: with --act f32 token by token as unpacked to F32; with rounded activations, along llama.cpp's text, wherever
// its choice is clear: its own rounding moves the margins of this text by up to 0.3.
func TestLlamaCppGreedy(t *testing.T) {
	g := readLlamaGoldens(t).Greedy
	s := newSession(t, demoModel, cpu.Options{F32: true})
	logits := s.prompt(g.Exact.Prompt...)
	logits = logits[len(logits)-s.m.Vocab:]
	var ids []int32
	for range g.Exact.IDs {
		ids = append(ids, argMax(logits))
		logits = s.decode(ids[len(ids)-1])
	}
	if !slices.Equal(ids, g.Exact.IDs) {
		t.Errorf("f32: got %d, want %d", ids, g.Exact.IDs)
	}

	s = newSession(t, demoModel, cpu.Options{})
	logits = s.prompt(g.File.Prompt...)
	logits = logits[len(logits)-s.m.Vocab:]
	for i, want := range g.File.IDs {
		if got := argMax(logits); got != want && g.File.Margin[i] > 0.3 {
			t.Errorf("q8: token %d is %d, want %d, which leads by %.2g", i, got, want, g.File.Margin[i])
		}
		logits = s.decode(want)
	}
}
