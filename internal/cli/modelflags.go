package cli

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"mustafar/backend"
	"mustafar/backend/cpu"
	"mustafar/backend/cuda"
	"mustafar/gguf"
	"mustafar/internal/generate"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/model/tokenizer"
	"mustafar/sparse"
)

// modelFlags say which model runs, on what, with which cache.
type modelFlags struct {
	f *flags

	path           string
	device, ngl    string
	cudaLib        string
	threads        int
	act            string
	ctx, chunk     int
	batch          int
	cache          string
	sparsity       string
	ctk, ctv       string
	values         string
	window, group  int
	sinks          int
	prefill        string
	verbose, trace bool
}

func addModelFlags(f *flags) *modelFlags {
	m := &modelFlags{f: f}
	f.in("Model and device")
	f.str(&m.path, "m,model", "FILE", "model file (GGUF; of a split model the first part)", "")
	f.str(&m.device, "device", "auto|cpu|cuda[:N]", "where it runs; auto: the GPU if the CUDA library and one are there", "auto")
	f.str(&m.ngl, "ngl,gpu-layers,n-gpu-layers", "N", "0: CPU; all, or at least the number of layers: GPU", "auto")
	f.str(&m.cudaLib, "cuda-lib", "FILE", "the CUDA library", "MUSTAFAR_CUDA_LIB, beside the program, loader path")
	f.set.Lookup("cuda-lib").Value.Set("")
	f.integer(&m.threads, "t,threads", "threads; 0 or -1: the physical cores", 0)
	f.str(&m.act, "act", "q8|f32", "activations in matrix products: int8 per 32, or f32 for checking", "q8")
	f.integer(&m.ctx, "c,ctx-size", "context in tokens; 0: the model's, or as much of it as fits", 0)
	f.integer(&m.chunk, "ub,ubatch-size", "tokens of a prompt that pass at once", 512)
	f.integer(&m.batch, "b,batch-size", "accepted for llama.cpp's sake; -ub rules", 2048)

	f.in("KV cache")
	f.str(&m.cache, "cache", "NAME[:S]", "dense, paper[:S] (Mustafar: K and V pruned at S, fp16 values, no sinks), or a codec for K and V", "dense")
	f.str(&m.sparsity, "sparsity", "S", "K and V pruned at S, the fraction of channels dropped, with int8 values and 4 sinks; after --cache paper it sets S", "")
	f.str(&m.ctk, "ctk,cache-type-k", "CODEC", "of K alone: f16, i16, i8 or sparse:S[:f16|i16|i8|i4]", "")
	f.str(&m.ctv, "ctv,cache-type-v", "CODEC", "of V alone", "")
	f.str(&m.values, "values", "f16|i16|i8|i4", "how kept values are stored where a codec does not say", "")
	f.integer(&m.window, "window", "newest tokens that stay dense", kvcache.DefaultWindow)
	f.integer(&m.group, "group", "tokens compressed together, a multiple of 64", kvcache.DefaultGroup)
	f.integer(&m.sinks, "sinks", "first tokens that stay dense; -1: 4 where anything is compressed, 0 with paper", -1)
	f.str(&m.prefill, "prefill", "exact|streaming", "a prompt sees itself dense, layer by layer, or is compressed while it passes", "exact")

	f.in("Logging")
	f.boolean(&m.verbose, "v,verbose", "say more on stderr")
	f.boolean(&m.trace, "trace", "print every activation's name, shape and norm on stderr")
	return m
}

// policy puts the cache flags together.
func (m *modelFlags) policy() (kvcache.Policy, error) {
	values := sparse.I8
	if m.values != "" {
		v, err := sparse.ParseValues(m.values)
		if err != nil {
			return kvcache.Policy{}, usagef("--values: %v", err)
		}
		values = v
	}
	name := m.cache
	if m.sparsity != "" {
		switch {
		case strings.HasPrefix(name, "paper"):
			name = "paper:" + m.sparsity
		default:
			name = "sparse:" + m.sparsity + ":" + values.String()
		}
	}
	p, err := kvcache.Named(name)
	if err != nil {
		return p, usagef("%v", err)
	}
	if m.values != "" && p.K.Pruned && m.sparsity == "" {
		p.K.Values, p.V.Values = values, values
	}
	for _, c := range []struct {
		text string
		to   *sparse.Codec
		flag string
	}{{m.ctk, &p.K, "-ctk"}, {m.ctv, &p.V, "-ctv"}} {
		if c.text != "" {
			if *c.to, err = sparse.Parse(c.text, values); err != nil {
				return p, usagef("%s: %v", c.flag, err)
			}
		}
	}
	return m.numbers(p)
}

// numbers puts window, group, sinks and the kind of prefill into a policy.
func (m *modelFlags) numbers(p kvcache.Policy) (kvcache.Policy, error) {
	p.Window, p.Group = m.window, m.group
	switch {
	case m.sinks >= 0:
		p.Sinks = m.sinks
	case p.Compacts() && (m.ctk != "" || m.ctv != ""):
		p.Sinks = kvcache.DefaultSinks
	}
	switch m.prefill {
	case "exact":
	case "streaming":
		p.Streaming = true
	default:
		return p, usagef("--prefill %q: want exact or streaming", m.prefill)
	}
	if err := p.Validate(); err != nil {
		return p, usagef("--%v", err)
	}
	return p, nil
}

// loaded is an open model on its backend.
type loaded struct {
	file    *gguf.File
	backend backend.Backend
	model   *model.Model
	tok     *tokenizer.Tokenizer
	ctx     int
}

func (l *loaded) close() {
	l.backend.Close()
	l.file.Close()
}

// openFile opens the model file alone.
func (m *modelFlags) openFile() (*gguf.File, error) {
	if m.path == "" {
		return nil, usagef("%s: which model? give its file with -m", m.f.cmd)
	}
	return gguf.Open(m.path)
}

// open loads the model for caches of the given policies, each of which must fit the context.
func (m *modelFlags) open(e *env, policies ...kvcache.Policy) (*loaded, error) {
	f, err := m.openFile()
	if err != nil {
		return nil, err
	}
	l := &loaded{file: f}
	if l.tok, err = tokenizer.New(f); err != nil {
		f.Close()
		return nil, err
	}
	if l.backend, err = m.openBackend(e); err != nil {
		f.Close()
		return nil, err
	}
	bar := newProgress(e, "loading")
	l.model, err = model.Load(f, l.backend, func(done, total int64) { bar.set(int(done), int(total)) })
	bar.finish()
	if err != nil {
		l.close()
		return nil, err
	}
	if m.trace {
		l.model.Trace = tracer(e, l.backend)
	}
	if l.ctx, err = m.fitContext(e, l.model, policies); err != nil {
		l.close()
		return nil, err
	}
	if m.verbose {
		fmt.Fprintf(e.stderr, "mustafar: %s, %s on %s (%s), %s of weights, context %d\n",
			l.model.Name, l.tok.Name(), l.backend.Name(), l.backend.Info(), mib(l.model.WeightBytes()), l.ctx)
	}
	return l, nil
}

// openBackend chooses the device. Why there is no GPU is said once where one was hoped for, and is an error where one was asked for.
func (m *modelFlags) openBackend(e *env) (backend.Backend, error) {
	var f32 bool
	switch m.act {
	case "q8":
	case "f32":
		f32 = true
	default:
		return nil, usagef("--act %q: want q8 or f32", m.act)
	}
	wantGPU, mustGPU, err := m.wantsGPU()
	if err != nil {
		return nil, err
	}
	if wantGPU {
		_, err := cuda.Open(m.cudaLib)
		if mustGPU {
			return nil, fmt.Errorf("--device %s: %w", m.device, err)
		}
		fmt.Fprintf(e.stderr, "mustafar: %v: running on the CPU\n", err)
	}
	if m.threads > 4*runtime.NumCPU() {
		return nil, usagef("-t %d: this machine has %d processors", m.threads, runtime.NumCPU())
	}
	return cpu.New(cpu.Options{Threads: m.threads, F32: f32})
}

// wantsGPU reads --device and -ngl: whether a GPU is wanted, and whether nothing else will do.
func (m *modelFlags) wantsGPU() (want, must bool, err error) {
	device, number, numbered := strings.Cut(m.device, ":")
	if _, err := strconv.ParseUint(number, 10, 16); numbered && (err != nil || device != "cuda") || device != "auto" && device != "cpu" && device != "cuda" {
		return false, false, usagef("--device %q: want auto, cpu, cuda or cuda:N", m.device)
	}
	want, must = device != "cpu", device == "cuda"
	switch m.ngl {
	case "auto", "-1", "all":
		return want, must, nil
	case "0":
		if must {
			return false, false, usagef("-ngl 0 runs on the CPU, --device %s on the GPU: give one of them", m.device)
		}
		return false, false, nil
	}
	n, err := strconv.Atoi(m.ngl)
	if err != nil || n < 0 {
		return false, false, usagef("-ngl %q: want 0, a number of layers, or all", m.ngl)
	}
	layers, err := m.countLayers()
	if err != nil {
		return false, false, err
	}
	if n < layers {
		return false, false, usagef("-ngl %d: the model's %d layers run on one device: want 0 or all", n, layers)
	}
	return want, must, nil
}

func (m *modelFlags) countLayers() (int, error) {
	f, err := m.openFile()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	c, err := model.ReadConfig(f)
	return c.Layers, err
}

// newLoop makes an empty cache and the loop that answers with it.
func (l *loaded) newLoop(m *modelFlags, p kvcache.Policy) *generate.Loop {
	return &generate.Loop{Backend: l.backend, Model: l.model, Tokenizer: l.tok, Cache: l.model.NewCache(p), Chunk: m.chunk, Ctx: l.ctx}
}
