package sample

import "math"

// The functions here give the same bits on every platform, so that the same logits and seed give the same tokens. math.Exp does
// not: it is assembly on some, and on others the compiler fuses multiplication and addition. A conversion of a product, as in
// float64(x*y) + z, keeps it from that.

// exp returns e^x for x <= 0 within one unit in the last place, 0 below -87, where float32 loses its normal range, and for NaN.
func exp(x float32) float32 {
	if !(x >= -87) {
		return 0
	}
	// x = n ln 2 + r with |r| <= ln 2 / 2. The first term left out of the series, r^8/8!, is below 6e-9.
	n := int64(float64(float64(x)*math.Log2E) - 0.5)
	r := float64(x) - float64(float64(n)*math.Ln2)
	y := 1.0 / 5040
	y = float64(y*r) + 1.0/720
	y = float64(y*r) + 1.0/120
	y = float64(y*r) + 1.0/24
	y = float64(y*r) + 1.0/6
	y = float64(y*r) + 1.0/2
	y = float64(y*r) + 1
	y = float64(y*r) + 1
	return float32(y * math.Float64frombits(uint64(1023+n)<<52))
}

// The draws of one position.
const (
	drawToken = iota
	drawXTC
	draws
)

// uniform returns the number in [0, 1) for a draw at a position. It is element position·draws + draw of SplitMix64 (Steele, Lea
// and Flood, OOPSLA 2014), a generator whose elements can be computed one without the other.
func uniform(seed int64, position, draw int) float64 {
	// Hashing the seed first puts neighbouring seeds, as batches use them, far apart in the sequence.
	x := splitMix(mix(uint64(seed)), uint64(position*draws+draw))
	return float64(x>>11) * 0x1p-53
}

// splitMix returns element i of the sequence that starts at state.
func splitMix(state, i uint64) uint64 { return mix(state + (i+1)*0x9e3779b97f4a7c15) }

// mix is SplitMix64's bijective hash of 64 bits.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
