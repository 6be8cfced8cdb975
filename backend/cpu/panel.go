package cpu

import "math"

// panel is up to m rows of activations rounded to int8, as the kernels of packed matrices read them: in blocks of 32 columns
//
//	q [m][32] int8   dx [m]   r [m]   s [m]   s0 [m]   s1 [m]   f32
//
// Of d = absmax/127 and Σq ggml keeps dx = fp16(d) and r = fp16(d·Σq): with the same, texts agree further with llama.cpp's. s is dx·Σq, s0 and s1 that of
// columns 0 … 15 and 16 … 31.
type panel struct {
	data []byte
	m    int
}

// panelBlock is the bytes of a block for each row.
const panelBlock = 32 + 5*4

// panelBytes is what a panel of m rows of cols columns takes.
func panelBytes(m, cols int) int { return panelBlock * m * cols / 32 }

// row returns the places of row i in block b: its quants, and where its scales begin: dx, r, s, s0 and s1 are m apart.
func (p panel) row(i, b int) (q []int8, scales []float32) {
	blk := p.data[panelBlock*p.m*b:][:panelBlock*p.m]
	return asInt8(blk[32*i:][:32]), asFloats(blk[32*p.m:])[i:]
}

// quantiseGeneric rounds x, a multiple of 32 long, into row i of a panel: half to even, a scale per 32.
func quantiseGeneric(p panel, i int, x []float32) {
	for b := range len(x) / 32 {
		q, scales := p.row(i, b)
		d, sum := quantise32(q, x[32*b:])
		half := 0
		for _, v := range q[:16] {
			half += int(v)
		}
		dx := halfToFloat(floatToHalf(d))
		for k, v := range [...]float32{dx, halfToFloat(floatToHalf(d * float32(sum))), dx * float32(sum), dx * float32(half), dx * float32(sum-half)} {
			scales[k*p.m] = v
		}
	}
}

// quantise32 rounds 32 numbers and returns their scale and sum.
func quantise32(q []int8, x []float32) (d float32, sum int) {
	top := float32(0)
	for _, v := range x[:32] {
		top = max(top, float32(math.Abs(float64(v))))
	}
	inverse := float32(0)
	if top > 0 {
		inverse = 127 / top
	}
	for i, v := range x[:32] {
		n := int(math.RoundToEven(float64(v * inverse)))
		q[i] = int8(n)
		sum += n
	}
	return top / 127, sum
}
