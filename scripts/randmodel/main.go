// Randmodel writes a random model as GGUF, for tests and for benchmarks where speed does not depend on the values.
// The same flags give the same bytes.
//
//	go run ./scripts/randmodel [flags] -o MODEL.gguf
//	go run ./scripts/randmodel -layers 32 -embd 4096 -ff 14336 -heads 32 -kv-heads 8 -vocab 32000 -own-output -type Q4_K_M -o mistral-7b.gguf
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"

	"mustafar/gguf/synth"
)

func main() {
	made := synth.Flags(flag.CommandLine)
	path := flag.String("o", "", "where the model goes")
	flag.Parse()
	if *path == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	m, err := made()
	if err == nil {
		err = write(*path, m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "randmodel:", err)
		os.Exit(1)
	}
}

func write(path string, m synth.Model) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := m.Write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
