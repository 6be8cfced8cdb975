package cpu

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"mustafar/backend/conformance"
	"mustafar/sparse"
)

// Rows packed by the backend are, to the bit, what sparse packs, and read back the same.
func TestEncode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	codecs := append(conformance.AllCodecs, sparse.Codec{Values: sparse.I4}, sparse.Sparse(0.3, sparse.I4))
	eachLevel(t, func(t *testing.T, k *kernels) {
		for _, codec := range codecs {
			for _, D := range []int{64, 128, 192, 256} {
				const n = 70
				l := newRowLayout(codec, D)
				got, want := l.at(make([]byte, l.bytes(n+2)), n+2), sparse.NewRows(codec, D, n)
				rows := make([]uint16, (n+3)/4*4*D)
				for i := range n {
					x := rows[i*D:][:D]
					for c := range x {
						x[c] = floatToHalf(float32(r.NormFloat64()))
						if i%3 == 0 {
							x[c] = uint16(0x3c00 + r.IntN(4) | r.IntN(2)<<15) // ties
						}
						if i == 7 {
							x[c] = uint16(r.IntN(3)) // subnormal: the scale vanishes
						}
					}
					want.Compress(i, x)
				}
				got.encodeRows(rows, n, k, &scratch{})
				if !slices.Equal(got.bitmaps[:len(want.Bitmaps)], want.Bitmaps) || !bytes.Equal(got.vals[:len(want.Values)], want.Values) || !slices.Equal(got.scales[:len(want.Scales)], want.Scales) {
					t.Fatalf("%v D%d: packed rows differ", codec, D)
				}
				a, b := make([]float32, n*D), make([]float32, n*D)
				got.expand(a, n, k)
				for i := range n {
					want.Expand(b[i*D:], i)
				}
				if !slices.Equal(a, b) {
					t.Fatalf("%v D%d: rows read back otherwise", codec, D)
				}
			}
		}
	})
}
