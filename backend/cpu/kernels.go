package cpu

import (
	"fmt"
	"os"
	"strings"

	"mustafar/gguf"
	"mustafar/sparse"
)

// kernels are the inner loops of one SIMD level. Each has a plain Go twin in the level "generic", and a test that holds the levels together.
type kernels struct {
	name string

	// dot returns Σ a·b; axpy adds p·x to y.
	dot  func(a, b []float32) float32
	axpy func(y []float32, p float32, x []float32)
	// scaleBy writes x·scale·w; swiglu g/(1+exp(-g))·u; rope turns pairs of neighbours by cosines (each twice) and sines (negated, then as they are).
	scaleBy func(y, x, w []float32, scale float32)
	swiglu  func(y, g, u []float32)
	rope    func(x, cos, sin []float32)
	// halves converts fp16 to f32, toHalves the other way, half to even.
	halves   func(dst []float32, src []uint16)
	toHalves func(dst []uint16, src []float32)

	// Matrix products. The generic level has none of these: it multiplies rows as the file holds them.
	quantise func(p panel, row int, x []float32) // rounds x into row of a panel
	matrices map[gguf.Type]matrixKernels
	floats   map[gguf.Type]map[int]floatFunc // by rows of activations

	// Attention of prompts, as products of tiles of keys and values with many queries. The generic level has none of these.
	adders    map[int]addFunc // by queries
	softmax   func(scores, m, sum, factor *float32, n *int32, queries int)
	transpose func(dst, src *float32, columns int) // [64][columns] to [columns][64]

	// Rows of a head dimension D, a multiple of 64. choose marks the channels to keep, pack writes their values, expand writes rows of a codec (its
	// sparsity aside; dense fp16 is a conversion) as f32.
	choose func(D int) chooseFunc
	pack   func(v sparse.Values, D int) packFunc
	expand func(c sparse.Codec, D int) expandFunc

	// Attention of decode steps, straight on the rows of a codec (its sparsity aside). The rows of codecs that have none are expanded, and multiplied as f32:
	// rowDots writes 8·rows8 products of rows with q, rowSums adds n weighted rows to acc·factor.
	rows    map[sparse.Codec]rowKernels
	rowDots func(out, rows, q *float32, rows8, columns int)
	rowSums func(acc, rows, weights *float32, factor float32, n, columns int)
}

// rowKernels score and sum up rows of one codec.
type rowKernels struct {
	bits   int                // of the integers that rows are multiplied as; 32: as f32
	weigh  weighFunc          // weights of that width
	scores map[int]scoresFunc // by head dimension
	sums   [][]sumsFunc       // by word of 64 channels, and query heads - 1; dense rows have one word, the others are offsets
}

type (
	chooseFunc = func(x *uint16, bitmaps *uint64, rows, keep int)
	packFunc   = func(x *uint16, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, bitmapBytes int, tmp *byte)
	expandFunc = func(dst *float32, bitmaps *uint64, values *byte, scales *uint16, rows, rowBytes, octets int)
)

type (
	scoresFunc = func(bitmaps, values *byte, scales *uint16, q *byte, qscale, out *float32, rows16, rowBytes, heads int, tmp *byte)
	weighFunc  = func(scores *float32, scales *uint16, weights *byte, m, sum, factors *float32, largest float32, n, heads int)
	sumsFunc   = func(bitmaps, values, weights *byte, acc, factors *float32, rows, rowBytes, bitmapBytes, accBytes int)
)

// rowsOf returns the kernels for rows of a codec, ok if the level has them for this head dimension.
func (k *kernels) rowsOf(c sparse.Codec, headDim int) (r rowKernels, ok bool) {
	c.Sparsity = 0
	r, ok = k.rows[c]
	return r, ok && r.scores[headDim] != nil
}

// packs reports whether matrices are packed for this level.
func (k *kernels) packs() bool { return k.matrices != nil }

// matrixKernels multiply one packed type. The maps are by the rows of activations in a panel.
type matrixKernels struct {
	direct   map[int]productFunc // packed tiles
	unpack   unpackFunc          // a packed tile to an unpacked one, of unpackedBlock bytes a block
	unpacked map[int]tileFunc    // one unpacked tile
	floats   unpackFunc          // a packed tile to columns of f32
}

// The kernels' arguments: w weights, x activations, y the results, 16 of a tile for each row of activations, ystride bytes apart; blocks of 32 columns,
// but of 256 for packed types that have superblocks.
type (
	productFunc = func(w, x *byte, y *float32, blocks, tiles, ystride int)
	unpackFunc  = func(dst, w *byte, blocks int)
	tileFunc    = func(w, x *byte, y *float32, blocks, ystride int)
	floatFunc   = func(w, x *byte, y *float32, columns, wstride, xstride, ystride int)
	addFunc     = func(w, x *byte, y *float32, columns, wstride, xstride, ystride int, factor *float32) // y = y·factor + …
)

// levels are those that this machine has, the best first; "generic" is always there and last.
var levels = append(simdLevels(), &generic)

var generic = kernels{
	name: "generic",
	dot:  dotGeneric, axpy: axpyGeneric,
	scaleBy: scaleByGeneric, swiglu: swigluGeneric, rope: ropeGeneric,
	halves: halvesGeneric, toHalves: toHalvesGeneric,
}

// pick returns the kernels of a level by name; empty means what MUSTAFAR_CPU says, else the best.
func pick(name string) (*kernels, error) {
	if name == "" {
		name = os.Getenv("MUSTAFAR_CPU")
	}
	if name == "" {
		return levels[0], nil
	}
	for _, k := range levels {
		if k.name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("cpu: SIMD level %q is not to be had on this machine (have %s)", name, strings.Join(Levels(), ", "))
}

// Levels names the SIMD levels of this machine, the best first.
func Levels() []string {
	names := make([]string, len(levels))
	for i, k := range levels {
		names[i] = k.name
	}
	return names
}
