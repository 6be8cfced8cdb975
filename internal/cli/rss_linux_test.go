package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mustafar/gguf"
	"mustafar/gguf/synth"
)

// A run takes the weights, the cache at its peak (a long prompt's hidden states count there) and 150 MB at most.
func TestPeakMemory(t *testing.T) {
	// as wide as the demo model, but with 6 of its layers and less in them, so that 4,096 tokens pass in seconds
	wide := randomModel(t, synth.Model{Layers: 6, Embd: 576, FF: 64, Heads: 9, KVHeads: 3, HeadDim: 64, Vocab: 300, Ctx: 8192, Seed: 1, Type: gguf.Q8_0})
	tests := []struct {
		name, model, text      string
		tokens, layers, packed int // of 3 KV heads of 64 channels
	}{
		{"the demo model", demoModel(t), strings.Repeat("The quick brown fox jumps over the lazy dog. ", 102) + "The quick brown fox", 1024, 30, 768},
		{"a random model", wide, strings.Repeat("a", 4096-1-3), 4096, 6, 3840},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info, err := os.Stat(tt.model)
			if err != nil {
				t.Fatal(err)
			}
			r := start(t, strings.NewReader(tt.text), "run", "-m", tt.model, "-n", "1", "--sparsity", "0.7", "-o", "json")
			watched := peakMemory(r.cmd.Process.Pid)
			out, _ := r.ends(3 * time.Minute)
			var answer runJSON
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			want := tt.layers * 3 * 2 * (tt.packed*(8+20+2) + (tt.tokens-tt.packed)*128)
			if answer.KV.Bytes != int64(want) || answer.PromptTokens != tt.tokens {
				t.Errorf("%d tokens hold %d bytes, want %d of %d", answer.PromptTokens, answer.KV.Bytes, tt.tokens, want)
			}
			const mb = 1 << 20
			weights, kv, peak := info.Size(), answer.KV.Peak, <-watched
			t.Logf("%d MiB at the peak: weights %d, KV %d, the rest %d", peak/mb, weights/mb, kv/mb, (peak-weights-kv)/mb)
			if peak > weights+kv+150*mb {
				t.Errorf("%d bytes at the peak, want %d at most", peak, weights+kv+150*mb)
			}
		})
	}
}

// peakMemory watches a process until its end and returns the most memory that it had resident, VmHWM. (What wait4 reports counts the parent's memory
// too, which a child has until it executes the program.)
func peakMemory(pid int) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		var most int64
		for ; ; time.Sleep(10 * time.Millisecond) {
			kib, ok := number(os.DirFS("/proc"), fmt.Sprintf("%d/status", pid), "VmHWM:")
			if !ok { // it has ended
				peak <- most << 10
				return
			}
			most = max(most, kib)
		}
	}()
	return peak
}
