package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mustafar/backend"
	"mustafar/gguf"
	"mustafar/kvcache"
)

// Config is the shape of a model. The names follow GGUF's keys.
type Config struct {
	Arch, Name  string
	Embd, FF    int
	Layers      int
	Heads       int
	KVHeads     int
	HeadDim     int // from attention.key_length where the file has it, else Embd/Heads
	RotDim      int // channels of a head that RoPE turns
	Vocab       int // rows of the embedding; at least as many as the vocabulary has tokens
	Ctx         int // that the model was trained for
	RopeBase    float64
	Eps         float32
	Experts     int // 0: a plain feed-forward network
	ExpertsUsed int
	Scaling     RopeScaling
}

// RopeScaling stretches positions beyond the context that a model was first trained for.
type RopeScaling struct {
	Type    string // "", "linear" or "yarn"
	Factor  float64
	OrigCtx int // yarn
}

// architectures that Load knows; general.architecture names one.
var architectures = []string{"llama"}

// ReadConfig reads the shape of a model from a file's metadata and checks that its parts fit.
func ReadConfig(f *gguf.File) (Config, error) {
	r := reader{f: f}
	c := Config{Arch: r.str("general.architecture"), Name: r.strOr("general.name", "")}
	if r.err == nil && !slices.Contains(architectures, c.Arch) {
		return c, fmt.Errorf("model: %s: architecture %q is not supported (have %s)", f.Path, c.Arch, strings.Join(architectures, ", "))
	}
	r.prefix = c.Arch + "."
	c.Layers = r.count("block_count", 1<<12)
	c.Embd = r.count("embedding_length", 1<<20)
	c.FF = r.count("feed_forward_length", 1<<22)
	c.Heads = r.count("attention.head_count", 1<<12)
	c.KVHeads = r.countOr("attention.head_count_kv", c.Heads)
	c.HeadDim = r.countOr("attention.key_length", c.Embd/max(c.Heads, 1))
	c.RotDim = r.countOr("rope.dimension_count", c.HeadDim)
	c.Ctx = r.count("context_length", 1<<30)
	c.RopeBase = r.floatOr("rope.freq_base", 10000)
	c.Eps = float32(r.float("attention.layer_norm_rms_epsilon"))
	c.Experts = r.intOr("expert_count", 0)
	c.ExpertsUsed = r.intOr("expert_used_count", 0)
	c.Scaling = RopeScaling{
		Type:    strings.TrimSuffix(r.strOr("rope.scaling.type", ""), "none"),
		Factor:  r.floatOr("rope.scaling.factor", 1),
		OrigCtx: r.intOr("rope.scaling.original_context_length", c.Ctx),
	}
	values := r.countOr("attention.value_length", c.HeadDim)
	if r.err != nil {
		return c, fmt.Errorf("model: %w", r.err)
	}
	switch bad := func(format string, args ...any) error {
		return fmt.Errorf("model: %s: "+format, append([]any{f.Path}, args...)...)
	}; {
	case c.Heads%c.KVHeads != 0:
		return c, bad("%d query heads do not divide among %d KV heads", c.Heads, c.KVHeads)
	case c.HeadDim%64 != 0:
		return c, bad("head dimension %d is not supported: want a multiple of 64", c.HeadDim)
	case values != c.HeadDim:
		return c, bad("values of %d channels beside keys of %d are not supported", values, c.HeadDim)
	case c.RotDim > c.HeadDim || c.RotDim%2 != 0:
		return c, bad("RoPE over %d of %d channels: want an even number of them", c.RotDim, c.HeadDim)
	case c.Experts > 0 && (c.ExpertsUsed < 1 || c.ExpertsUsed > c.Experts):
		return c, bad("%d of %d experts used", c.ExpertsUsed, c.Experts)
	case c.Scaling.Type != "" && c.Scaling.Type != "linear" && c.Scaling.Type != "yarn":
		return c, bad("RoPE scaling %q is not supported (have none, linear, yarn)", c.Scaling.Type)
	case !(c.Scaling.Factor > 0) || !(c.RopeBase > 0) || c.Scaling.OrigCtx < 1:
		return c, bad("RoPE base %g, scaling factor %g, original context %d: want positive numbers", c.RopeBase, c.Scaling.Factor, c.Scaling.OrigCtx)
	}
	return c, nil
}

// Shape returns what a cache needs to know.
func (c Config) Shape() kvcache.Shape {
	return kvcache.Shape{Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim}
}

// rope returns the turning of positions. factors, if there are any (rope_freqs.weight of Llama 3.1 and later), divide the frequencies.
func (c Config) rope(factors []float32) *backend.Rope {
	r := &backend.Rope{Freq: make([]float64, c.RotDim/2), Mag: 1}
	low, high := c.yarnRamp()
	for j := range r.Freq {
		f := math.Pow(c.RopeBase, -2*float64(j)/float64(c.RotDim))
		if factors != nil {
			f /= float64(factors[j])
		}
		switch c.Scaling.Type {
		case "linear":
			f /= c.Scaling.Factor
		case "yarn": // between high frequencies, which stay, and low ones, which are stretched (arXiv 2309.00071, section 3.2)
			stay := 1 - min(1, max(0, (float64(j)-low)/max(0.001, high-low)))
			f = f/c.Scaling.Factor*(1-stay) + f*stay
		}
		r.Freq[j] = f
	}
	if c.Scaling.Type == "yarn" {
		r.Mag = float32(1 + 0.1*math.Log(c.Scaling.Factor))
	}
	return r
}

// yarnRamp returns the pairs between which YaRN passes from keeping a frequency to stretching it: those that turn 32 times and once in the original context.
func (c Config) yarnRamp() (low, high float64) {
	pair := func(turns float64) float64 {
		return float64(c.RotDim) * math.Log(float64(c.Scaling.OrigCtx)/(turns*2*math.Pi)) / (2 * math.Log(c.RopeBase))
	}
	return max(0, math.Floor(pair(32))), min(float64(c.RotDim-1), math.Ceil(pair(1)))
}

// reader reads keys until the first error, which stays.
type reader struct {
	f      *gguf.File
	prefix string
	err    error
}

func keep[T any](r *reader, v T, err error) T {
	if r.err == nil {
		r.err = err
	}
	return v
}

func (r *reader) str(key string) string {
	v, err := r.f.String(r.prefix + key)
	return keep(r, v, err)
}

func (r *reader) strOr(key, def string) string {
	v, err := r.f.StringOr(r.prefix+key, def)
	return keep(r, v, err)
}

func (r *reader) float(key string) float64 {
	v, err := r.f.Float(r.prefix + key)
	return keep(r, v, err)
}

func (r *reader) floatOr(key string, def float64) float64 {
	v, err := r.f.FloatOr(r.prefix+key, def)
	return keep(r, v, err)
}

func (r *reader) intOr(key string, def int) int {
	v, err := r.f.IntOr(r.prefix+key, def)
	return keep(r, v, err)
}

// count reads a number from 1 to most.
func (r *reader) count(key string, most int) int {
	v, err := r.f.Int(r.prefix + key)
	if err == nil && (v < 1 || v > most) {
		err = fmt.Errorf("%s: key %q is %d, want 1 to %d", r.f.Path, r.prefix+key, v, most)
	}
	return keep(r, v, err)
}

func (r *reader) countOr(key string, def int) int {
	if !r.f.Has(r.prefix + key) {
		return def
	}
	return r.count(key, 1<<20)
}
