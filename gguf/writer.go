package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
)

// Write writes a GGUF file of version 3 that Open reads back the same: keys and tensors in the order given, each value
// of the kind that its Go type stands for (see KV), the tensors' Data as they are. The alignment is that of the key
// general.alignment, which must be a uint32, or 32. The same arguments give the same bytes. What Open would refuse is
// an error, and nothing is written. One part of a split model is a file with the keys split.no (uint16, from 0),
// split.count (uint16) and split.tensors.count (int32, of all parts).
func Write(w io.Writer, kvs []KV, tensors []Tensor) error {
	align, err := alignment(kvs)
	if err != nil {
		return fmt.Errorf("gguf: write: %w", err)
	}
	head := []byte(magic)
	head = le.AppendUint32(head, 3)
	head = le.AppendUint64(head, uint64(len(tensors)))
	head = le.AppendUint64(head, uint64(len(kvs)))
	for _, kv := range kvs {
		if head, err = appendKV(head, kv); err != nil {
			return fmt.Errorf("gguf: write: key %.80q: %w", kv.Key, err)
		}
	}
	offset := uint64(0)
	for _, t := range tensors {
		head = appendString(head, t.Name)
		head = le.AppendUint32(head, uint32(len(t.Shape)))
		for _, d := range t.Shape {
			head = le.AppendUint64(head, uint64(d))
		}
		head = le.AppendUint32(head, uint32(t.Type))
		head = le.AppendUint64(head, offset)
		offset = pad(offset+uint64(len(t.Data)), align)
	}
	if len(tensors) > 0 {
		head = append(head, make([]byte, pad(uint64(len(head)), align)-uint64(len(head)))...)
	}
	f, _, _, err := parseHeader(head, math.MaxInt)
	if err != nil {
		return fmt.Errorf("gguf: write: %w", err)
	}
	for i, t := range f.Tensors {
		if got := len(tensors[i].Data); got != t.Bytes() {
			return fmt.Errorf("gguf: write: tensor %.80q has %d bytes, want %d for %v of shape %d", t.Name, got, t.Bytes(), t.Type, t.Shape)
		}
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("gguf: write: %w", err)
	}
	for _, t := range tensors {
		n := uint64(len(t.Data))
		for _, b := range [][]byte{t.Data, make([]byte, pad(n, align)-n)} {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("gguf: write: %w", err)
			}
		}
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

func appendKV(b []byte, kv KV) ([]byte, error) {
	kind := slices.Index(kinds, reflect.TypeOf(kv.Value))
	if isSlice(kv.Value) {
		kind = kindArray
	}
	if kind < 0 {
		return nil, fmt.Errorf("the Go type %T stands for no kind of value (KV lists those that do)", kv.Value)
	}
	b = appendString(b, kv.Key)
	b = le.AppendUint32(b, uint32(kind))
	return appendValue(b, kv.Value)
}

// appendValue appends a value without its kind; an array has the kind of its elements.
func appendValue(b []byte, v any) ([]byte, error) {
	if s, ok := v.(string); ok {
		return appendString(b, s), nil
	}
	if !isSlice(v) {
		return binary.Append(b, le, v)
	}
	s := reflect.ValueOf(v)
	kind := slices.Index(kinds, s.Type().Elem())
	if kind < 0 {
		return nil, fmt.Errorf("the Go type %T stands for no kind of value (KV lists those that do)", v)
	}
	b = le.AppendUint32(b, uint32(kind))
	b = le.AppendUint64(b, uint64(s.Len()))
	switch v := v.(type) {
	case []string:
		for _, x := range v {
			b = appendString(b, x)
		}
		return b, nil
	case []any:
		for _, x := range v {
			if !isSlice(x) {
				return nil, fmt.Errorf("a []any holds %T, want slices", x)
			}
			var err error
			if b, err = appendValue(b, x); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return binary.Append(b, le, v)
}

func isSlice(v any) bool { return v != nil && reflect.TypeOf(v).Kind() == reflect.Slice }
