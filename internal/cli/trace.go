package cli

import (
	"fmt"
	"math"

	"mustafar/backend"
)

// tracer returns a function that prints every activation: its name under ggml's, its shape, its norm and its first numbers.
func tracer(e *env, b backend.Backend) func(name string, layer int, t backend.Tensor) {
	var x []float32
	return func(name string, layer int, t backend.Tensor) {
		if n := t.Rows * t.Cols; cap(x) < n {
			x = make([]float32, n)
		}
		x = x[:t.Rows*t.Cols]
		if err := b.Read(x, t); err != nil {
			fmt.Fprintf(e.stderr, "%s: %v\n", name, err)
			return
		}
		if layer >= 0 {
			name = fmt.Sprintf("%s-%d", name, layer)
		}
		square := 0.0
		for _, v := range x {
			square += float64(v) * float64(v)
		}
		fmt.Fprintf(e.stderr, "%-16s %4d × %-6d norm %12.6g  %.6g …\n", name, t.Rows, t.Cols, math.Sqrt(square), x[:min(4, len(x))])
	}
}
