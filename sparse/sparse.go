// Package sparse defines the compressed row formats of a K or V cache and the plain Go reference of every operation on them.
//
// A row is one token's K (after RoPE) or V of one KV head: D channels, D a multiple of 64. Its largest channels are kept:
//
//	x        -0.1  2.0  0.3 -1.5  0.0  0.9 ...     D channels
//	bitmap     0    1    0    1    0    1  ...     bit i of word w: channel 64w+i was kept, lowest bit first
//	values         2.0      -1.5       0.9 ...     keep of them, in channel order: fp16, or integers times one fp16 scale a row
//
// Every row of a codec keeps exactly as many channels, so every row has the same size and a row's address is a product.
// The rule is Mustafar's (arXiv 2505.22913), with exact counts: bytes a row = D/8 + keep·{2, 2, 1, ½ rounded up} + 2 for a scale.
package sparse

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Values is how the kept values of a row are stored.
type Values uint8

// The value types. A row of I16, I8 or I4 has one fp16 scale: absmax / Max() · ScaleUnit().
const (
	F16 Values = iota
	I16
	I8
	I4
)

var valueNames = [...]string{F16: "f16", I16: "i16", I8: "i8", I4: "i4"}

func (v Values) String() string { return valueNames[v] }

// ParseValues reads a value type by name: f16, i16, i8 or i4.
func ParseValues(s string) (Values, error) {
	for v, name := range valueNames {
		if s == name {
			return Values(v), nil
		}
	}
	return 0, fmt.Errorf("value type %q is not known (have %s)", s, strings.Join(valueNames[:], ", "))
}

// bytes returns the size of n values.
func (v Values) bytes(n int) int {
	switch v {
	case I8:
		return n
	case I4:
		return (n + 1) / 2
	default:
		return 2 * n
	}
}

// Max returns the largest magnitude of an integer type: 32767, 127 or 7.
func (v Values) Max() int { return [...]int{I16: 32767, I8: 127, I4: 7}[v] }

// ScaleUnit is what a row's stored scale is a multiple of: 1, but 1024 for I16, whose scale absmax/32767 would be subnormal in fp16.
func (v Values) ScaleUnit() float32 {
	if v == I16 {
		return 1024
	}
	return 1
}

// Codec is how the rows of one tensor (K or V) are stored once compressed. The zero Codec is dense fp16.
type Codec struct {
	Pruned   bool    // a bitmap row of the largest channels; otherwise all channels are stored
	Sparsity float64 // fraction of channels dropped, [0, 1), where Pruned
	Values   Values
}

// Dense is the codec of rows that are not compressed: all channels in fp16.
var Dense = Codec{}

// Sparse returns the codec that drops the given fraction of channels.
func Sparse(sparsity float64, v Values) Codec {
	return Codec{Pruned: true, Sparsity: sparsity, Values: v}
}

// Parse reads a codec by name: f16, i16, i8 (dense) or sparse:S[:f16|i16|i8|i4], where S is the fraction dropped and def the value type if none is said.
func Parse(s string, def Values) (Codec, error) {
	const want = "want f16, i16, i8 or sparse:S[:f16|i16|i8|i4]"
	switch s {
	case "f16":
		return Dense, nil
	case "i16":
		return Codec{Values: I16}, nil
	case "i8":
		return Codec{Values: I8}, nil
	}
	rest, ok := strings.CutPrefix(s, "sparse:")
	if !ok {
		return Codec{}, fmt.Errorf("codec %q is not known: %s", s, want)
	}
	number, name, named := strings.Cut(rest, ":")
	v := def
	if named {
		var err error
		if v, err = ParseValues(name); err != nil {
			return Codec{}, fmt.Errorf("codec %q: %w: %s", s, err, want)
		}
	}
	sparsity, err := ParseSparsity(number)
	if err != nil {
		return Codec{}, fmt.Errorf("codec %q: %w", s, err)
	}
	return Sparse(sparsity, v), nil
}

// ParseSparsity reads the fraction of channels dropped, [0, 1).
func ParseSparsity(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f < 1) {
		return 0, fmt.Errorf("sparsity %q: want the fraction of channels dropped, 0 <= S < 1", s)
	}
	return f, nil
}

// String returns the codec's name as Parse reads it.
func (c Codec) String() string {
	if !c.Pruned {
		return c.Values.String()
	}
	return "sparse:" + strconv.FormatFloat(c.Sparsity, 'g', -1, 64) + ":" + c.Values.String()
}

// IsDense reports whether rows are stored as they come, in fp16.
func (c Codec) IsDense() bool { return c == Dense }

// Keep returns how many of headDim channels a row stores.
func (c Codec) Keep(headDim int) int {
	if !c.Pruned {
		return headDim
	}
	return Keep(headDim, c.Sparsity)
}

// RowBytes returns the size of one row: bitmap, values and scale.
func (c Codec) RowBytes(headDim int) int {
	return c.BitmapBytes(headDim) + c.ValueBytes(headDim) + c.ScaleBytes()
}

// BitmapBytes returns the bytes of a row's bitmap.
func (c Codec) BitmapBytes(headDim int) int {
	if !c.Pruned {
		return 0
	}
	return headDim / 8
}

// ValueBytes returns the bytes of a row's values.
func (c Codec) ValueBytes(headDim int) int { return c.Values.bytes(c.Keep(headDim)) }

// ScaleBytes returns the bytes of a row's scale.
func (c Codec) ScaleBytes() int {
	if c.Values == F16 {
		return 0
	}
	return 2
}

// Keep returns how many of headDim channels survive pruning at sparsity, a fraction in [0, 1): headDim - floor(sparsity·headDim).
// Keep(128, 0.7) is 39. The authors' code keeps one more, and every tie; exactly Keep makes every row the same size.
func Keep(headDim int, sparsity float64) int {
	return headDim - int(math.Floor(sparsity*float64(headDim)+1e-9)) // 1e-9: 0.7·10 is 7, though its product in binary is just below
}
