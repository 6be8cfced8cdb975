//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package gguf

import (
	"io"
	"os"
)

// mapFile reads the file: this system's mappings are not known.
func mapFile(f *os.File, size int) ([]byte, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, err
}

func unmapFile([]byte) error { return nil }

func discard([]byte) {}
