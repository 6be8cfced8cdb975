package model_test

import (
	"fmt"
	"testing"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/kvcache"
	"mustafar/model"
)

// BenchmarkModel times the demo model on one thread: a prompt of 512 tokens, and decode steps at depths, dense and sparse.
func BenchmarkModel(b *testing.B) {
	f, err := gguf.Open(demoModel)
	if err != nil {
		b.Fatalf("%v: run make model", err)
	}
	defer f.Close()
	c, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	m, err := model.Load(f, c, nil)
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]int32, 8192)
	for i := range ids {
		ids[i] = int32((i*7919 + 13) % m.Vocab)
	}
	logits := make([]float32, m.Vocab)
	b.Run("prefill512", func(b *testing.B) {
		for b.Loop() {
			cache := m.NewCache(kvcache.Dense)
			p := m.NewPrefill(cache, cache.NewSeq(), ids[:512], 512)
			for !p.Step() {
			}
			c.Read(logits, p.Logits())
		}
		b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "t/s")
	})
	for _, name := range []string{"dense", "sparse:0.5", "paper:0.5"} {
		policy, _ := kvcache.Named(name)
		for _, depth := range []int{0, 4096, 8000} {
			b.Run(fmt.Sprintf("%s@%d", name, depth), func(b *testing.B) {
				cache := m.NewCache(policy)
				s := cache.NewSeq()
				if depth > 0 {
					p := m.NewPrefill(cache, s, ids[:depth], 512)
					for !p.Step() {
					}
				}
				cache.Mark(s)
				var batch kvcache.Batch
				b.ResetTimer()
				for b.Loop() {
					batch.Reset()
					if cache.Len(s) >= depth+64 {
						cache.Rewind(s)
					}
					batch.Step(s, cache.Len(s), ids[cache.Len(s)])
					c.Read(logits, m.Forward(cache, &batch))
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "t/s")
			})
		}
	}
}

// BenchmarkLoad times reading and packing the demo model.
func BenchmarkLoad(b *testing.B) {
	c, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		f, err := gguf.Open(demoModel)
		if err != nil {
			b.Fatalf("%v: run make model", err)
		}
		b.SetBytes(f.Size())
		if _, err := model.Load(f, c, nil); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
