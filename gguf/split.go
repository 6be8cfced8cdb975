package gguf

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
)

// The keys that llama.cpp's gguf-split writes into every part.
const (
	keyPart    = "split.no"            // this part, from 0
	keyParts   = "split.count"         // all parts; 0, 1 or absent in a file that is whole
	keyTensors = "split.tensors.count" // tensors of all parts
)

// partName is gguf-split's "%s-%05d-of-%05d.gguf".
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// Open maps a GGUF file and checks it whole, but for the tensors' values. The first part of a split model opens all
// the parts, which must lie beside it under gguf-split's names. Errors are one line: what, where, what was expected.
func Open(path string) (*File, error) {
	f, err := openPart(path)
	if err != nil {
		return nil, err
	}
	if err := f.openParts(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openPart opens one file, whatever it says of other parts.
func openPart(path string) (*File, error) {
	b, err := readMap(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(b)
	if err != nil {
		unmapFile(b)
		return nil, fmt.Errorf("gguf: %s: %w", path, err)
	}
	f.Path, f.maps = path, [][]byte{b}
	return f, nil
}

// readMap maps a whole file.
func readMap(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	defer file.Close() // a mapping outlives its descriptor
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("gguf: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("gguf: %s is not a regular file, want a GGUF model", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("gguf: %s: %w", path, errEmpty) // it cannot be mapped
	case info.Size() > math.MaxInt:
		return nil, fmt.Errorf("gguf: %s has %d bytes, more than this machine can address", path, info.Size())
	}
	b, err := mapFile(file, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: cannot map %d bytes: %w", path, info.Size(), err)
	}
	return b, nil
}

// openParts adds parts 2 to N to f if it is the first of N, and does nothing if it is whole.
func (f *File) openParts() error {
	count, err := f.IntOr(keyParts, 1)
	if err != nil || count <= 1 {
		return err
	}
	no, err := f.Int(keyPart)
	if err != nil {
		return err
	}
	total, err := f.Int(keyTensors)
	if err != nil {
		return err
	}
	prefix, nameNo, nameCount := parsePart(f.Path)
	if no != 0 {
		return fmt.Errorf("gguf: %s is part %d of %d: open the first part, %s", f.Path, no+1, count, partPath(prefix, 1, count))
	}
	if nameNo != 1 || nameCount != count {
		return fmt.Errorf("gguf: %s is the first of %d parts, want the name %s: give the parts their names back",
			f.Path, count, partPath("*", 1, count))
	}
	for i := 2; i <= count; i++ {
		if err := f.addPart(partPath(prefix, i, count), i, count); err != nil {
			return err
		}
	}
	if len(f.Tensors) != total {
		return fmt.Errorf("gguf: %s: the %d parts hold %d tensors, want %d (key %q)", f.Path, count, len(f.Tensors), total, keyTensors)
	}
	return nil
}

// addPart adds the tensors of part no of count. Its metadata is left out: gguf-split writes nothing but the split keys.
func (f *File) addPart(path string, no, count int) error {
	p, err := openPart(path)
	if err != nil {
		return fmt.Errorf("%w (part %d of %d of %s)", err, no, count, f.Path)
	}
	f.maps = append(f.maps, p.maps...)
	gotNo, err := p.Int(keyPart)
	if err != nil {
		return err
	}
	gotCount, err := p.Int(keyParts)
	if err != nil {
		return err
	}
	if gotNo != no-1 || gotCount != count {
		return fmt.Errorf("gguf: %s is part %d of %d by its keys %q and %q, want part %d of %d: give the parts their names back",
			path, gotNo+1, gotCount, keyPart, keyParts, no, count)
	}
	for _, t := range p.Tensors {
		if err := f.add(t); err != nil {
			return fmt.Errorf("gguf: %s: %w", path, err)
		}
	}
	return nil
}

// parsePart takes a part's name apart; of another name, nothing is known.
func parsePart(path string) (prefix string, no, count int) {
	m := partName.FindStringSubmatch(path)
	if m == nil {
		return "*", 0, 0
	}
	no, _ = strconv.Atoi(m[2]) // five digits by the pattern
	count, _ = strconv.Atoi(m[3])
	return m[1], no, count
}

func partPath(prefix string, no, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, no, count)
}
