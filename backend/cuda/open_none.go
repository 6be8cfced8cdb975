//go:build !linux || !(amd64 || arm64)

package cuda

import (
	"fmt"
	"runtime"
)

func open(path string) (*Library, error) {
	return nil, fmt.Errorf("cuda: %s: there is no CUDA backend on %s/%s", path, runtime.GOOS, runtime.GOARCH)
}
