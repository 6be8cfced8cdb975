package cpu

import (
	"os"
	"path/filepath"
	"runtime"
)

// physicalCores counts the machine's cores; hyper-threads of one share its arithmetic, and a second thread on it only waits.
func physicalCores() int {
	siblings := map[string]bool{}
	files, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			siblings[string(b)] = true
		}
	}
	if len(siblings) > 0 {
		return len(siblings)
	}
	return runtime.NumCPU()
}
