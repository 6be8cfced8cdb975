//go:build !amd64 || noasm

package cpu

import "runtime"

// simdLevels: there are none.
func simdLevels() []*kernels { return nil }

func pause() { runtime.Gosched() }
