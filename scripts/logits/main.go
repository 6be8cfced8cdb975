// Logits writes the logits of every position of a list of tokens: float32, little-endian, (tokens, vocab).
//
//	go run ./scripts/logits -m MODEL.gguf -ids IDS.json [-act q8|f32] [-chunk N] -o OUT.f32
//
// The cache is dense. IDS.json is an array of token ids, taken as they are. With -chunk 1 they are decoded one by one.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"mustafar/backend/cpu"
	"mustafar/gguf"
	"mustafar/kvcache"
	"mustafar/model"
)

func main() {
	var path, ids, act, out string
	var o cpu.Options
	var chunk int
	flag.StringVar(&path, "m", "", "the model")
	flag.StringVar(&ids, "ids", "", "a JSON array of token ids")
	flag.StringVar(&act, "act", "q8", "activations in matrix products: q8 or f32")
	flag.IntVar(&chunk, "chunk", 64, "tokens a forward pass")
	flag.StringVar(&o.Level, "level", "", "SIMD level; empty: the best")
	flag.IntVar(&o.Threads, "threads", 0, "0: the physical cores")
	flag.StringVar(&out, "o", "", "where the logits go")
	flag.Parse()
	if path == "" || ids == "" || out == "" || chunk < 1 || act != "q8" && act != "f32" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	o.F32 = act == "f32"
	if err := run(path, ids, out, chunk, o); err != nil {
		fmt.Fprintln(os.Stderr, "logits:", err)
		os.Exit(1)
	}
}

func run(path, idsPath, outPath string, chunk int, o cpu.Options) error {
	text, err := os.ReadFile(idsPath)
	if err != nil {
		return err
	}
	var ids []int32
	if err := json.Unmarshal(text, &ids); err != nil {
		return fmt.Errorf("%s: want a JSON array of token ids: %w", idsPath, err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := cpu.New(o)
	if err != nil {
		return err
	}
	defer b.Close()
	m, err := model.Load(f, b, nil)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if id < 0 || int(id) >= m.Vocab {
			return fmt.Errorf("%s: entry %d is %d, the model has tokens 0 to %d", idsPath, i, id, m.Vocab-1)
		}
	}
	out, err := os.Create(outPath)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	if err := write(w, m, b, ids, chunk); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Close()
}

// write passes the tokens through m, chunk by chunk, and writes each chunk's logits.
func write(w io.Writer, m *model.Model, b *cpu.CPU, ids []int32, chunk int) error {
	c := m.NewCache(kvcache.Dense)
	seq := c.NewSeq()
	var batch kvcache.Batch
	for at := 0; at < len(ids); at += chunk {
		part := ids[at:min(at+chunk, len(ids))]
		batch.Reset()
		if chunk == 1 {
			batch.Step(seq, at, part[0])
		} else {
			batch.Prompt(seq, at, part...)
			for i := range part {
				batch.Wants = append(batch.Wants, i)
			}
		}
		logits := make([]float32, len(part)*m.Vocab)
		if err := b.Read(logits, m.Forward(c, &batch)); err != nil {
			return err
		}
		if err := binary.Write(w, binary.LittleEndian, logits); err != nil {
			return err
		}
	}
	return nil
}
