// Command mustafar runs Llama and Mistral models from GGUF files with a bitmap-sparse KV cache.
package main

import (
	"os"

	"mustafar/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
