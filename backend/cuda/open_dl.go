//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"runtime"

	"github.com/ebitengine/purego"
)

// open loads a library and checks that it speaks our ABI.
func open(path string) (*Library, error) {
	runtime.LockOSThread() // the loader keeps its last error a thread
	defer runtime.UnlockOSThread()
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	l := &Library{Path: path}
	if l.ABI, err = abiOf(handle); err == nil && l.ABI != ABI {
		err = fmt.Errorf("has ABI %d, want %d: run make cuda", l.ABI, ABI)
	}
	if err != nil {
		purego.Dlclose(handle)
		return nil, fmt.Errorf("cuda: %s %w", path, err)
	}
	return l, nil
}

// abiOf calls
//
//	int32_t mf_abi(void);
func abiOf(handle uintptr) (int, error) {
	symbol, err := purego.Dlsym(handle, "mf_abi")
	if err != nil {
		return 0, fmt.Errorf("is no library of mustafar: %w", err)
	}
	var call func() int32
	purego.RegisterFunc(&call, symbol)
	return int(call()), nil
}
