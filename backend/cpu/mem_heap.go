//go:build !unix

package cpu

func mapMemory(n int) []byte { return make([]byte, n) }

func unmapMemory([]byte) {}
