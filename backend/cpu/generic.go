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

func scaleByGeneric(y, x, w []float32, scale float32) {
	for i, v := range x {
		y[i] = v * scale * w[i]
	}
}

func swigluGeneric(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = g / (1 + float32(math.Exp(float64(-g)))) * up[i]
	}
}

func ropeGeneric(x, cos, sin []float32) {
	for i := 0; i < len(x); i += 2 {
		a, b := x[i], x[i+1]
		x[i], x[i+1] = a*cos[i]+b*sin[i], b*cos[i+1]+a*sin[i+1]
	}
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

// dotUnpacked is the product of an unpacked row with the only row of a panel; group is 16 or 32. rounded says which sum a minimum is multiplied with.
func dotUnpacked(u []uint8, d, m []float32, group int, rounded bool, p panel) (sum float32) {
	for b := range len(u) / 32 {
		q, s := p.row(0, b)
		dx, sums := s[0], s[2:3]
		switch {
		case group == 16:
			sums = s[3:5]
		case rounded:
			sums = s[1:2]
		}
		for g, total := range sums {
			dot := int32(0)
			for i, v := range u[32*b+group*g:][:group] {
				dot += int32(v) * int32(q[group*g+i])
			}
			at := (32*b + group*g) / group
			sum += float32(dot) * (d[at] * dx)
			sum += m[at] * total
		}
	}
	return sum
}
