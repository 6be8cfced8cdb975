package cli

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"mustafar/gguf"
	"mustafar/gguf/synth"
)

// Bytes held behind a prompt of 4,096 tokens, by DESIGN's formula written out by hand: 15 groups of 256 tokens are compressed, as
// ⌊(4096 - sinks - 32)/256⌋ = 15 with 0 sinks and with 4, so 3,840 rows are packed and 256 stay in fp16.
//
//	keep  64 - ⌊0.7·64⌋ = 20, 128 - ⌊0.7·128⌋ = 39
//	row   D/8 bytes of bitmap, keep values of 2, 2, 1 or ½ bytes rounded up, 2 bytes of scale but for f16
func TestHeldBytes(t *testing.T) {
	text := strings.Repeat("a", 4096-1-3) // a token each, behind BOS and the three bytes of ▁
	for _, m := range []struct{ layers, kvHeads, headDim int }{{1, 2, 64}, {2, 1, 128}} {
		model := randomModel(t, synth.Model{Layers: m.layers, Embd: 64, FF: 64, Heads: m.kvHeads, KVHeads: m.kvHeads, HeadDim: m.headDim, Vocab: 300, Ctx: 8192, Seed: 1, Type: gguf.F16})
		for _, c := range []struct {
			args string
			row  map[int]int // by head dimension
		}{
			{"--cache paper:0.7", map[int]int{64: 8 + 40, 128: 16 + 78}},
			{"--sparsity 0.7 --values f16", map[int]int{64: 8 + 40, 128: 16 + 78}},
			{"--sparsity 0.7 --values i16", map[int]int{64: 8 + 40 + 2, 128: 16 + 78 + 2}},
			{"--sparsity 0.7", map[int]int{64: 8 + 20 + 2, 128: 16 + 39 + 2}},
			{"--sparsity 0.7 --values i4", map[int]int{64: 8 + 10 + 2, 128: 16 + 20 + 2}},
			{"--sparsity 0.7 --values i4 --prefill streaming", map[int]int{64: 8 + 10 + 2, 128: 16 + 20 + 2}},
			{"--cache dense", map[int]int{64: 128, 128: 256}},
		} {
			t.Run(fmt.Sprintf("%d %s", m.headDim, c.args), func(t *testing.T) {
				got := runJSONOf(t, text, append(strings.Fields(c.args), "-m", model, "-n", "1")...)
				rows := m.layers * m.kvHeads * 2 // K and V
				dense := rows * 4096 * 2 * m.headDim
				want := rows * (3840*c.row[m.headDim] + 256*2*m.headDim)
				if got.PromptTokens != 4096 || got.KV.Bytes != int64(want) || got.KV.Dense != int64(dense) {
					t.Errorf("%d tokens, %d of %d bytes: want 4096 tokens, %d of %d", got.PromptTokens, got.KV.Bytes, got.KV.Dense, want, dense)
				}
				if ratio := float64(want) / float64(dense); got.KV.Ratio != ratio {
					t.Errorf("ratio %v, want %v", got.KV.Ratio, ratio)
				}
				if got.KV.Peak < got.KV.Bytes {
					t.Errorf("%d bytes held, %d at the peak", got.KV.Bytes, got.KV.Peak)
				}
			})
		}
	}
}

// What is held lies in memory that was taken for it.
func TestAllocated(t *testing.T) {
	model := randomModel(t, small)
	for _, cache := range []string{"dense", "paper:0.5", "sparse:0.7:i4"} {
		got := runJSONOf(t, strings.Repeat("a", 1000), "-m", model, "-n", "1", "--cache", cache)
		if got.KV.Allocated < got.KV.Bytes {
			t.Errorf("%s: %d bytes held in %d bytes of memory", cache, got.KV.Bytes, got.KV.Allocated)
		}
	}
}

func TestMostThatFits(t *testing.T) {
	need := func(n int) int64 { return 10 * int64(n) }
	for _, tt := range []struct {
		limit int
		free  int64
		want  int
	}{{100, 1000, 100}, {100, 999, 99}, {100, 1 << 40, 100}, {100, 10, 1}, {100, 9, 0}, {100, -5, 0}, {1 << 30, 12345, 1234}} {
		if got := mostThatFits(tt.limit, tt.free, need); got != tt.want {
			t.Errorf("of %d with %d bytes free: %d, want %d", tt.limit, tt.free, got, tt.want)
		}
	}
}

func TestAvailableMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	meminfo := file("MemTotal:       2000000 kB\nMemFree:         100 kB\nMemAvailable:    1000 kB\n")
	tests := []struct {
		name  string
		files fstest.MapFS
		want  int64
		known bool
	}{
		{"another system", fstest.MapFS{}, 0, false},
		{"no limits", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n")}, 1024000, true},
		{"an unlimited group", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("1:cpu:/x\n0::/user/me\n"),
			"sys/fs/cgroup/user/me/memory.max": file("max\n"), "sys/fs/cgroup/user/me/memory.current": file("5\n"),
		}, 1024000, true},
		{"a container", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("500000\n"),
			"sys/fs/cgroup/memory.current": file("300000\n"), "sys/fs/cgroup/memory.stat": file("anon 100000\nfile 120000\nfile_mapped 7\n"),
		}, 320000, true},
		{"a group above", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/user/me\n"), "sys/fs/cgroup/user/memory.max": file("400000\n"),
			"sys/fs/cgroup/user/memory.current": file("300000\n"),
		}, 100000, true},
		{"a limit beyond the machine", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("9000000000\n"),
			"sys/fs/cgroup/memory.current": file("0\n"),
		}, 1024000, true},
		{"a group of another namespace", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/../../x\n")}, 1024000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, known := availableMemory(tt.files); got != tt.want || known != tt.known {
				t.Errorf("got %d, %t, want %d, %t", got, known, tt.want, tt.known)
			}
		})
	}
}
