package cli

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"mustafar/backend"
	"mustafar/backend/cpu"
	"mustafar/backend/cuda"
	"mustafar/gguf"
	"mustafar/internal/generate"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/model/tokenizer"
)

// openModel opens a command's model file.
func openModel(cmd, path string) (*gguf.File, error) {
	if path == "" {
		return nil, usagef("%s: which model? give its file with -m", cmd)
	}
	return gguf.Open(path)
}

// loaded is a model on its backend.
type loaded struct {
	tok     *tokenizer.Tokenizer
	backend backend.Backend
	model   *model.Model
	ctx     int // tokens that a sequence may hold
	chunk   int // tokens of a prompt that pass at once
}

func (l *loaded) close() { l.backend.Close() }

// newLoop makes an empty cache and the loop that answers with it.
func (l *loaded) newLoop(p kvcache.Policy) *generate.Loop {
	return &generate.Loop{Backend: l.backend, Model: l.model, Tokenizer: l.tok, Cache: l.model.NewCache(p), Chunk: l.chunk, Ctx: l.ctx}
}

// load loads the model of a file, which stays open longer. held says what the caches take that exist at once.
func (m *modelFlags) load(e *env, f *gguf.File, held holding) (*loaded, error) {
	start := time.Now()
	tok, err := tokenizer.New(f)
	if err != nil {
		return nil, err
	}
	config, err := model.ReadConfig(f)
	if err != nil {
		return nil, err
	}
	b, err := m.openBackend(e, config.Layers)
	if err != nil {
		return nil, err
	}
	l := &loaded{tok: tok, backend: b, chunk: m.chunk}
	if err := m.loadOn(e, l, f, held); err != nil {
		b.Close()
		return nil, err
	}
	if m.verbose {
		fmt.Fprintf(e.stderr, "mustafar: %s, vocabulary %s, %s of weights on %s (%s) in %.0f ms, context %d\n", l.model.Name, tok.Name(),
			mib(l.model.WeightBytes()), b.Name(), b.Info(), ms(time.Since(start)), l.ctx)
	}
	return l, nil
}

// loadOn fills in the model and the context.
func (m *modelFlags) loadOn(e *env, l *loaded, f *gguf.File, held holding) (err error) {
	bar := newProgress(e, "loading")
	l.model, err = model.Load(f, l.backend, func(done, total int64) { bar.set(int(done), int(total)) })
	bar.finish()
	if err != nil {
		return err
	}
	if l.tok.Vocab() > l.model.Vocab {
		return fmt.Errorf("%s: the vocabulary has %d tokens, the model knows %d: the file is damaged", f.Path, l.tok.Vocab(), l.model.Vocab)
	}
	if m.trace {
		l.model.Trace = tracer(e, l.backend)
	}
	l.ctx, err = m.fitContext(e, l.model, held)
	return err
}

// openBackend chooses the device. Why there is no GPU is an error where nothing else will do, and said where one could be hoped for.
func (m *modelFlags) openBackend(e *env, layers int) (backend.Backend, error) {
	want, err := m.wantsGPU(layers)
	if err != nil {
		return nil, err
	}
	if want != never {
		err := openCUDA(m.cudaLib)
		if want == must {
			return nil, fmt.Errorf("--device %s: %w", m.device, err)
		}
		if want == hoped || m.verbose || !errors.Is(err, cuda.ErrNoLibrary) {
			fmt.Fprintf(e.stderr, "mustafar: %v: running on the CPU\n", err)
		}
	}
	if n := runtime.NumCPU(); m.threads > 4*n {
		return nil, usagef("-t %d: this machine has %d processors", m.threads, n)
	}
	return cpu.New(cpu.Options{Threads: m.threads, F32: m.act == "f32"})
}

// openCUDA says why no GPU can be used.
func openCUDA(path string) error {
	l, err := cuda.Open(path)
	if err == nil {
		err = fmt.Errorf("cuda: %s is there, but this build has no CUDA backend", l.Path)
	}
	return err
}
