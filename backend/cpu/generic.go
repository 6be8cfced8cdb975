package cpu

import (
	"encoding/binary"
	"math"
)

func dotGeneric(a, b []float32) (sum float32) {
	b = b[:len(a)]
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

func axpyGeneric(y []float32, p float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += p * x[i]
	}
}

func dotHalfGeneric(w []byte, x []float32) (sum float32) {
	for i, v := range x {
		sum += half(w[2*i:]) * v
	}
	return sum
}

func dotBF16Generic(w []byte, x []float32) (sum float32) {
	for i, v := range x {
		sum += bf16(w[2*i:]) * v
	}
	return sum
}

func bf16(b []byte) float32 {
	return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
}

func halvesGeneric(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = halfToFloat(h)
	}
}

func toHalvesGeneric(dst []uint16, src []float32) {
	for i, f := range src {
		dst[i] = floatToHalf(f)
	}
}

func quantiseGeneric(q []int8, ds []float32, x []float32) {
	for g := range len(x) / 32 {
		group := x[32*g:][:32]
		top := float32(0)
		for _, v := range group {
			top = max(top, float32(math.Abs(float64(v))))
		}
		inverse := float32(0)
		if top > 0 {
			inverse = 127 / top
		}
		sum := 0
		for i, v := range group {
			n := int(math.RoundToEven(float64(v * inverse)))
			q[32*g+i] = int8(n)
			sum += n
		}
		d := top / 127
		ds[2*g], ds[2*g+1] = d, d*float32(sum)
	}
}

// dotUnpacked is the product of an unpacked row with quantised activations; group is 16 or 32.
func dotUnpacked(u []uint8, d, m []float32, group int, q []int8, ds []float32) (sum float32) {
	for g := range len(u) / group {
		dot, total := int32(0), int32(0)
		w, a := u[g*group:][:group], q[g*group:][:group]
		for i, v := range w {
			dot += int32(v) * int32(a[i])
			total += int32(a[i])
		}
		dx := ds[g*group/32*2]
		sum += float32(dot) * (d[g] * dx)
		sum += m[g] * (dx * float32(total))
	}
	return sum
}
