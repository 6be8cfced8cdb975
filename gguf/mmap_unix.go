//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package gguf

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(b []byte) error { return unix.Munmap(b) }

// discard gives back the whole pages inside b, part of a mapping; the pages at its ends belong to the neighbours too.
func discard(b []byte) {
	page := os.Getpagesize()
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(page))
	if n := (len(b) - skip) / page * page; n > 0 {
		unix.Madvise(b[skip:skip+n], unix.MADV_DONTNEED) // advice: a refusal changes nothing
	}
}
