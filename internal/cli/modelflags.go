package cli

import (
	"strconv"
	"strings"
)

// modelFlags say which model runs, on what, with which cache.
type modelFlags struct {
	f *flags
	*cacheFlags
	path           string
	device, ngl    string
	cudaLib        string
	threads        int
	act            string
	ctx, chunk     int
	verbose, trace bool
}

func addModelFlags(f *flags) *modelFlags {
	m := &modelFlags{f: f}
	var ignored int
	f.in("Model and device")
	addModelPath(f, &m.path)
	f.str(&m.device, "-dev, --device", "auto|cpu|cuda[:N]", "where it runs; auto: the GPU if there are one and the CUDA library", "auto")
	f.str(&m.ngl, "-ngl, --gpu-layers, --n-gpu-layers", "N", "0: CPU; all, or at least the number of layers: GPU", "auto")
	addCUDALib(f, &m.cudaLib)
	f.integer(&m.threads, "-t, --threads", "threads; 0 or -1: the physical cores", 0, -1)
	f.integer(&ignored, "-tb, --threads-batch", "accepted for llama.cpp's sake: -t rules", 0, -1)
	f.choice(&m.act, "--act", "q8|f32", "activations in matrix products: int8 per 32, or f32 for checking", "q8")
	f.integer(&m.ctx, "-c, --ctx-size", "context in tokens; 0: the model's, or as much of it as fits", 0, 0)
	f.integer(&m.chunk, "-ub, --ubatch-size", "tokens of a prompt that pass at once", 512, 1)
	f.integer(&ignored, "-b, --batch-size", "accepted for llama.cpp's sake: -ub rules", 2048, 1)

	m.cacheFlags = addCacheFlags(f)

	f.in("Logging")
	f.boolean(&m.verbose, "-v, --verbose", "say more on stderr")
	f.boolean(&m.trace, "--trace", "print every activation's name, shape and norm on stderr")
	return m
}

func addModelPath(f *flags, path *string) {
	f.str(path, "-m, --model", "FILE", "model file (GGUF; of a split model the first part)", "")
}

func addCUDALib(f *flags, path *string) {
	f.str(path, "--cuda-lib", "FILE", "the CUDA library; else MUSTAFAR_CUDA_LIB, beside the program, on the loader's path", "")
}

// gpu is what the command line says of a GPU.
type gpu int

const (
	never gpu = iota
	maybe     // if there is one
	hoped     // it was asked for, but the CPU will do
	must
)

// wantsGPU reads --device and -ngl for a model of so many layers.
func (m *modelFlags) wantsGPU(layers int) (gpu, error) {
	want := maybe
	switch device, number, numbered := strings.Cut(m.device, ":"); {
	case m.device == "auto":
	case m.device == "cpu":
		want = never
	case device == "cuda" && (!numbered || isNumber(number)):
		want = must
	default:
		return never, usagef("--device %q: want auto, cpu, cuda or cuda:N", m.device)
	}
	asked := m.ngl == "all"
	switch n, err := strconv.Atoi(m.ngl); {
	case asked, m.ngl == "auto", m.ngl == "-1":
	case err != nil || n < 0:
		return never, usagef("-ngl %q: want 0, the number of layers or more, or all", m.ngl)
	case n == 0 && want == must:
		return never, usagef("-ngl 0 runs on the CPU, --device %s on the GPU: give one of them", m.device)
	case n == 0:
		return never, nil
	case n < layers:
		return never, usagef("-ngl %d: the model's %d layers run on one device: want 0 or all", n, layers)
	default:
		asked = true
	}
	if want == maybe && asked {
		want = hoped
	}
	return want, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}
