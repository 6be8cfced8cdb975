package cli

import (
	"fmt"
	"io"
	"time"

	"mustafar/internal/generate"
	"mustafar/kvcache"
)

// perfPrefix stands in place of llama.cpp's common_perf_print.
const perfPrefix = "mustafar_perf: "

// printPerf writes the timings in llama.cpp's words, which scripts parse, then a line about the cache.
func printPerf(w io.Writer, t generate.Timings, u kvcache.Usage, p kvcache.Policy) {
	line := func(name string, d time.Duration, n int, unit string) {
		fmt.Fprintf(w, "%s%s = %10.2f ms / %5d %s (%8.2f ms per token, %8.2f tokens per second)\n",
			perfPrefix, name, ms(d), n, unit, ms(d)/float64(max(n, 1)), float64(n)/max(d.Seconds(), 1e-9))
	}
	line("prompt eval time", t.PromptTime, t.PromptN, "tokens")
	line("       eval time", t.PredictedTime, t.PredictedN, "runs  ")
	fmt.Fprintf(w, "%s      total time = %10.2f ms / %5d tokens\n", perfPrefix, ms(t.PromptTime+t.PredictedTime+t.SampleTime), t.PromptN+t.PredictedN)
	printKV(w, u, p)
}

// printKV writes the line about the cache.
func printKV(w io.Writer, u kvcache.Usage, p kvcache.Policy) {
	fmt.Fprintf(w, "%skv = %s of %s dense (ratio %.3f, K %v V %v)\n", perfPrefix, mib(u.Bytes), mib(u.Dense), u.Ratio(), p.K, p.V)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// kvJSON is the cache in JSON answers.
type kvJSON struct {
	Bytes      int64   `json:"bytes"`
	Allocated  int64   `json:"allocated"`
	Peak       int64   `json:"peak_bytes"`
	Dense      int64   `json:"dense_bytes"`
	Ratio      float64 `json:"ratio"`
	Compressed int     `json:"compressed_tokens"`
	K          string  `json:"k"`
	V          string  `json:"v"`
}

func newKVJSON(u kvcache.Usage, p kvcache.Policy) kvJSON {
	return kvJSON{u.Bytes, u.Allocated, u.Peak, u.Dense, u.Ratio(), u.Compressed, p.K.String(), p.V.String()}
}

// timingsJSON has the keys of llama.cpp's server.
type timingsJSON struct {
	PromptN      int     `json:"prompt_n"`
	PromptMS     float64 `json:"prompt_ms"`
	PromptRate   float64 `json:"prompt_per_second"`
	PredictedN   int     `json:"predicted_n"`
	PredictedMS  float64 `json:"predicted_ms"`
	PredictedSec float64 `json:"predicted_per_second"`
}

func newTimingsJSON(t generate.Timings) timingsJSON {
	return timingsJSON{t.PromptN, ms(t.PromptTime), t.PromptRate(), t.PredictedN, ms(t.PredictedTime), t.PredictedRate()}
}
