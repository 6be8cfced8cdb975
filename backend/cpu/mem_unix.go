//go:build unix

package cpu

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func mapMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(fmt.Errorf("cpu: %d bytes of memory: %w", n, err))
	}
	adviseHuge(b)
	return b
}

func unmapMemory(b []byte) { unix.Munmap(b) }
