// Package cuda is the backend that calls libmustafar_cuda.so, opened at run time, never by cgo.
package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ABI is the version of native/mustafar.h that this program speaks.
const ABI = 1

const (
	libraryName = "libmustafar_cuda.so"
	environment = "MUSTAFAR_CUDA_LIB"
)

// ErrNoLibrary says that the library was nowhere to be found.
var ErrNoLibrary = errors.New("no CUDA library (" + libraryName + ")")

// Library is an open CUDA library.
type Library struct {
	Path string
	ABI  int
}

// Open opens the library: at path if one is named, else where MUSTAFAR_CUDA_LIB says, beside the program, or on the loader's path. An error says why
// there is no GPU to be had.
func Open(path string) (*Library, error) {
	named := path
	if named == "" {
		named = os.Getenv(environment)
	}
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return nil, fmt.Errorf("cuda: library %s: %w", named, errors.Unwrap(err))
		}
		if whole, err := filepath.Abs(named); err == nil {
			named = whole // the loader looks for a name without a slash elsewhere
		}
		return open(named)
	}
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), libraryName); exists(beside) {
			return open(beside)
		}
	}
	l, err := open(libraryName)
	if err != nil {
		return nil, ErrNoLibrary
	}
	return l, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
