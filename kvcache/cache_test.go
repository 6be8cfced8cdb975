package kvcache_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/gguf/synth"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/sparse"
)

const layers = 6

// rig is a small random model on the CPU.
type rig struct {
	t *testing.T
	b *cpu.CPU
	m *model.Model
}

func newRig(t *testing.T, o cpu.Options) *rig {
	t.Helper()
	var file bytes.Buffer
	m := synth.Model{Layers: layers, Embd: 192, FF: 256, Heads: 3, KVHeads: 1, Type: gguf.Q8_0, Seed: 7}
	if err := m.Write(&file); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	b, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	loaded, err := model.Load(f, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, b, loaded}
}

// text is n tokens that depend on where it starts.
func text(start, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(3 + (start+i)*(start+i+7)%500)
	}
	return ids
}

func (r *rig) prompt(c *kvcache.Cache, s kvcache.Seq, tokens []int32, chunk int) []float32 {
	r.t.Helper()
	p := r.m.NewPrefill(c, s, tokens, chunk)
	for !p.Step() {
	}
	x := make([]float32, r.m.Vocab)
	if err := r.b.Read(x, p.Logits()); err != nil {
		r.t.Fatal(err)
	}
	return x
}

// decode decodes one token of each sequence in one pass and returns the logits of the first.
func (r *rig) decode(c *kvcache.Cache, token int32, seqs ...kvcache.Seq) []float32 {
	r.t.Helper()
	var b kvcache.Batch
	for i, s := range seqs {
		b.Step(s, c.Len(s), token+int32(i))
	}
	x := make([]float32, len(seqs)*r.m.Vocab)
	if err := r.b.Read(x, r.m.Forward(c, &b)); err != nil {
		r.t.Fatal(err)
	}
	return x[:r.m.Vocab]
}

func (r *rig) decodeAll(c *kvcache.Cache, s kvcache.Seq, tokens []int32) (last []float32) {
	for _, t := range tokens {
		last = r.decode(c, t, s)
	}
	return last
}

func (r *rig) same(what string, got, want []float32) {
	r.t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			r.t.Fatalf("%s: logit %d is %g, want %g to the bit", what, i, got[i], want[i])
		}
	}
}

// differ is the RMS of the difference, relative to want's RMS.
func differ(got, want []float32) float64 {
	var d, w float64
	for i := range want {
		d += float64(got[i]-want[i]) * float64(got[i]-want[i])
		w += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(d / w)
}

// quick is a policy that compresses soon.
func quick(c sparse.Codec, sinks int) kvcache.Policy {
	return kvcache.Policy{K: c, V: c, Window: 4, Group: 64, Sinks: sinks}
}

var (
	half   = sparse.Sparse(0.5, sparse.I8)
	nearly = sparse.Sparse(0, sparse.F16) // all channels under a bitmap of ones
)

// Sparsity 0 with fp16 values is the dense cache, bit for bit, through prompts, steps and further turns, in the plain Go backend.
func TestSparsityZeroIsDense(t *testing.T) {
	r := newRig(t, cpu.Options{Level: "generic", Threads: 2})
	dense := quick(sparse.Dense, 0)
	a, b := r.m.NewCache(dense), r.m.NewCache(quick(nearly, 0))
	sa, sb := a.NewSeq(), b.NewSeq()
	r.same("prompt", r.prompt(b, sb, text(0, 150), 64), r.prompt(a, sa, text(0, 150), 64))
	for i, token := range text(150, 80) {
		r.same("step", r.decode(b, token, sb), r.decode(a, token, sa))
		if i == 0 && (b.Usage().Compressed != 128 || a.Usage().Compressed != 0) {
			t.Fatalf("%d and %d tokens are compressed, want 128 and none", b.Usage().Compressed, a.Usage().Compressed)
		}
	}
	r.same("second turn", r.prompt(b, sb, text(300, 100), 30), r.prompt(a, sa, text(300, 100), 30))
}

// The number of compressed tokens is what DESIGN says, at every length: while decoding, and after prompts.
func TestSchedule(t *testing.T) {
	r := newRig(t, cpu.Options{})
	p := quick(half, 4)
	want := func(n int) int { return max(0, (n-4-4)/64) * 64 }
	c := r.m.NewCache(p)
	s := c.NewSeq()
	for i, token := range text(0, 220) {
		if got := c.Usage().Compressed; got != want(i) || p.Compressed(i) != want(i) {
			t.Fatalf("token %d sees %d compressed ones (Compressed says %d), want %d", i, got, p.Compressed(i), want(i))
		}
		r.decode(c, token, s)
	}
	for _, n := range []int{1, 3, 4, 71, 72, 73, 135, 136, 300} {
		for _, streaming := range []bool{false, true} {
			p.Streaming = streaming
			c := r.m.NewCache(p)
			r.prompt(c, c.NewSeq(), text(0, n), 32)
			u := c.Usage()
			if u.Compressed != want(n) {
				t.Errorf("prompt of %d, streaming %v: %d tokens compressed, want %d", n, streaming, u.Compressed, want(n))
			}
			// by hand: 6 layers, 1 KV head of 64 channels; K and V of a compressed row 8 + 32 + 2 bytes each, of a dense one 128
			if bytes := int64(6 * (want(n)*2*42 + (n-want(n))*2*128)); u.Bytes != bytes || p.Bytes(r.m.Shape(), n) != bytes {
				t.Errorf("prompt of %d: %d bytes held, Bytes says %d, want %d", n, u.Bytes, p.Bytes(r.m.Shape(), n), bytes)
			}
			if u.Dense != int64(6*n*2*128) {
				t.Errorf("prompt of %d: dense would be %d", n, u.Dense)
			}
		}
	}
}

// A prompt sees itself dense: its logits are the dense cache's, bit for bit, however it is cut, and what is dense at once is one layer.
func TestExactPrefill(t *testing.T) {
	r := newRig(t, cpu.Options{})
	dense := r.m.NewCache(quick(sparse.Dense, 4))
	want := r.prompt(dense, dense.NewSeq(), text(0, 300), 512)
	for _, chunk := range []int{512, 300, 64, 7} {
		c := r.m.NewCache(quick(half, 4))
		s := c.NewSeq()
		r.same("prompt in chunks", r.prompt(c, s, text(0, 300), chunk), want)
		u := c.Usage()
		layer := int64(300 * 2 * 128)
		if hidden := int64(4 * 300 * 192); chunk < 300 && (u.Peak < u.Bytes+layer/2 || u.Peak > u.Bytes+layer+hidden) {
			t.Errorf("chunks of %d: peak %d bytes, want the %d held, one dense layer of %d and hidden states of %d at most", chunk, u.Peak, u.Bytes, layer, hidden)
		}
	}
}

// Streaming, a token sees what it would see when decoding; only the order of sums differs.
func TestStreamingPrefill(t *testing.T) {
	exact := sparse.Sparse(0.5, sparse.F16) // decode steps round queries only where rows are integers
	r := newRig(t, cpu.Options{F32: true})
	p := quick(exact, 4)
	p.Streaming = true
	c := r.m.NewCache(p)
	s := c.NewSeq()
	want := r.decodeAll(c, s, text(0, 230))
	for _, chunk := range []int{512, 50} {
		c := r.m.NewCache(p)
		got := r.prompt(c, c.NewSeq(), text(0, 230), chunk)
		if d := differ(got, want); d > 0.015 { // a number that rounds otherwise may change a row's choice of channels
			t.Errorf("chunks of %d: logits differ by %.2g from decoded ones", chunk, d)
		}
	}
	c = r.m.NewCache(quick(exact, 4))
	if d := differ(r.prompt(c, c.NewSeq(), text(0, 230), 50), want); d < 0.03 {
		t.Errorf("exact prefill differs by only %.2g: nothing was compressed while the prompt passed", d)
	}
}

// Rewind gives back exactly what Mark saw, more than once, also when groups were compressed in between, and after turns and truncations.
func TestRewind(t *testing.T) {
	r := newRig(t, cpu.Options{})
	c := r.m.NewCache(quick(half, 4))
	s := c.NewSeq()
	r.prompt(c, s, text(0, 170), 64)
	r.decodeAll(c, s, text(170, 9))
	before := c.Usage()
	c.Mark(s)
	if u := c.Usage(); u != before {
		t.Fatalf("marking changed %+v to %+v", before, u)
	}
	want := slices.Clone(r.decodeAll(c, s, text(500, 130)))
	for range 2 {
		c.Rewind(s)
		if u := c.Usage(); u.Tokens != 179 || u.Bytes != before.Bytes || u.Compressed != before.Compressed {
			t.Fatalf("rewound to %+v, want %+v", u, before)
		}
		r.same("answered again", r.decodeAll(c, s, text(500, 130)), want)
	}
	c.Truncate(s, 40) // into the groups
	r.decodeAll(c, s, text(0, 100))
	c.Rewind(s)
	r.same("after a truncation", r.decodeAll(c, s, text(500, 130)), want)
	c.Drop(s)
	if u := c.Usage(); u.Bytes != 0 || u.Allocated != 0 {
		t.Fatalf("dropped: %+v", u)
	}
}

// A forked sequence gives what an unforked one gives, bit for bit, and so does the one it was forked from.
func TestFork(t *testing.T) {
	r := newRig(t, cpu.Options{})
	c := r.m.NewCache(quick(half, 4))
	plain := c.NewSeq()
	r.prompt(c, plain, text(0, 200), 64)
	want := slices.Clone(r.decodeAll(c, plain, text(200, 100)))

	s := c.NewSeq()
	r.prompt(c, s, text(0, 200), 64)
	f := c.Fork(s, 200)
	r.decodeAll(c, s, text(900, 77)) // goes elsewhere meanwhile
	r.same("fork", r.decodeAll(c, f, text(200, 100)), want)
	g := c.Fork(plain, 200)
	c.Drop(plain)
	if c.Len(g) != 200 {
		t.Fatalf("a fork of 200 tokens has %d", c.Len(g))
	}
	r.decodeAll(c, g, text(0, 100))
}

// A prefix that several prompts share is passed once; each prompt's logits are what they are alone, bit for bit.
func TestSharedPrefix(t *testing.T) {
	r := newRig(t, cpu.Options{})
	c := r.m.NewCache(quick(sparse.Dense, 0))
	prefix := c.NewSeq()
	r.prompt(c, prefix, text(0, 100), 64)
	for i := range 3 {
		s := c.Fork(prefix, 100)
		alone := r.m.NewCache(quick(half, 0))
		whole := append(text(0, 100), text(400+i, 50)...)
		r.same("shared prefix", r.prompt(c, s, text(400+i, 50), 64), r.prompt(alone, alone.NewSeq(), whole, 64))
	}
}

// Decode of a sequence is bitwise the same alone and beside 2 and 7 others, of other lengths.
func TestDecodeBesideOthers(t *testing.T) {
	r := newRig(t, cpu.Options{Threads: 2})
	for _, others := range []int{2, 7} {
		c := r.m.NewCache(quick(half, 4))
		s := c.NewSeq()
		r.prompt(c, s, text(0, 90), 64)
		alone := c.Fork(s, 90)
		seqs := []kvcache.Seq{s}
		for i := range others {
			o := c.NewSeq()
			r.prompt(c, o, text(50*i, 30+40*i), 64)
			seqs = append(seqs, o)
		}
		for _, token := range text(90, 70) {
			beside := slices.Clone(r.decode(c, token%400, seqs...))
			r.same("beside others", beside, r.decode(c, token%400, alone))
		}
	}
}

// Threads do not change a bit.
func TestThreads(t *testing.T) {
	var want []float32
	for _, threads := range []int{1, 2, 5} {
		r := newRig(t, cpu.Options{Threads: threads})
		c := r.m.NewCache(quick(half, 4))
		s := c.NewSeq()
		r.prompt(c, s, text(0, 1200), 512)
		got := r.decodeAll(c, s, text(1200, 5))
		if want == nil {
			want = slices.Clone(got)
		}
		r.same("threads", got, want)
	}
}

// A prompt that is interrupted in layer 5 leaves a cache that answers: as if it had never been where nothing is compressed, and else with all layers
// compressed alike and the tokens that were there before.
func TestInterruptedPrompt(t *testing.T) {
	r := newRig(t, cpu.Options{F32: true})
	interrupt := func(p kvcache.Policy, tokens int) (c *kvcache.Cache, s kvcache.Seq, want, got []float32) {
		c = r.m.NewCache(p)
		s = c.NewSeq()
		r.prompt(c, s, text(0, 110), 64)
		r.decodeAll(c, s, text(110, 20))
		f := c.Fork(s, 130)
		want = slices.Clone(r.decode(c, 77, f))
		c.Drop(f)
		pre := r.m.NewPrefill(c, s, text(300, tokens), 50)
		for range 4*(tokens/50) + 2 { // into layer 5
			if pre.Step() {
				t.Fatal("the prompt has passed already")
			}
		}
		pre.Abort()
		pre.Abort() // once is enough
		if c.Len(s) != 130 {
			t.Fatalf("%d tokens are left, want 130", c.Len(s))
		}
		return c, s, want, r.decode(c, 77, s)
	}
	_, _, want, got := interrupt(quick(sparse.Dense, 4), 200)
	r.same("dense", got, want)

	c, s, want, got := interrupt(quick(half, 4), 200)
	if d := differ(got, want); d == 0 || d > 0.3 {
		t.Errorf("the answer differs by %.2g: want some, since more is compressed, but not much", d)
	}
	if u := c.Usage(); u.Compressed != 126 { // all but the sinks were in groups that some layers had compressed
		t.Errorf("%d tokens are compressed, want 126", u.Compressed)
	} else if want := int64(layers * (126*2*42 + (4+1)*2*128)); u.Bytes != want { // the sinks and the token decoded since are dense
		t.Errorf("%d bytes, want %d: all layers compressed alike", u.Bytes, want)
	}
	r.prompt(c, s, text(300, 200), 50) // the cache goes on
	if c.Len(s) != 331 {
		t.Errorf("%d tokens, want 331", c.Len(s))
	}
}

// Head dimensions beyond 64 and K and V apart run the same way.
func TestOtherShapes(t *testing.T) {
	for _, D := range []int{128, 256} {
		var file bytes.Buffer
		if err := (synth.Model{Layers: 2, Embd: 128, FF: 128, Heads: 4, KVHeads: 2, HeadDim: D, Type: gguf.F16}).Write(&file); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "random.gguf")
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := cpu.New(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		m, err := model.Load(f, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t, b, m}
		dense := m.NewCache(quick(sparse.Dense, 4))
		sd := dense.NewSeq()
		want := r.prompt(dense, sd, text(0, 150), 64)
		p := kvcache.Policy{K: sparse.Sparse(0.3, sparse.I8), Window: 4, Group: 64, Sinks: 4} // V stays dense
		c := m.NewCache(p)
		s := c.NewSeq()
		r.same("prompt", r.prompt(c, s, text(0, 150), 64), want)
		if d := differ(r.decodeAll(c, s, text(0, 10)), r.decodeAll(dense, sd, text(0, 10))); d == 0 || d > 0.5 {
			t.Errorf("D=%d: decoded logits differ by %.2g", D, d)
		}
		u := c.Usage()
		if want := int64(2 * 2 * (128*(D/8+sparse.Keep(D, 0.3)+2+2*D) + 32*4*D)); u.Bytes != want {
			t.Errorf("D=%d: %d bytes, want %d", D, u.Bytes, want)
		}
	}
}
