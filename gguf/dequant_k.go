package gguf

// The K types: super-blocks of 256 values in sub-blocks of 16 or 32, whose scales are integers times the super-block's
// float16. Low bits of the values lie 128 (or 64) values to a stretch of 32 (or 64) bytes: value e of the super-block
// is in byte e%32 (or e%64) of its stretch, at a shift that grows every 32 (or 64) values.

// Q2_K: 16 bytes, scale and minimum of a sub-block of 16 in a nibble each | 64 bytes q, 2 bits a value | f16 d | f16 dmin
func dequantizeQ2_K(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[84:] {
		scales, q, d, dmin := x[:16], x[16:80], half(x[80:]), half(x[82:])
		for j, s := range scales {
			dj, mj := d*float32(s&15), float32(dmin*float32(s>>4))
			for e := 16 * j; e < 16*j+16; e++ {
				y[e] = float32(dj*float32(q[e/128*32+e%32]>>(e/32%4*2)&3)) - mj
			}
		}
	}
}

// Q3_K: 32 bytes h, bit e/32 of byte e%32 is the third bit of value e, inverted | 64 bytes q as in Q2_K |
// 12 bytes, 16 scales of 6 bits | f16 d
func dequantizeQ3_K(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[110:] {
		h, q, scales, d := x[:32], x[32:96], x[96:108], half(x[108:])
		for j := range 16 {
			low := scales[j%8] >> (j / 8 * 4) & 15
			high := scales[8+j%4] >> (j / 4 * 2) & 3
			dj := d * float32(int(high<<4|low)-32)
			for e := 16 * j; e < 16*j+16; e++ {
				low := q[e/128*32+e%32] >> (e / 32 % 4 * 2) & 3
				high := h[e%32] >> (e / 32) & 1
				y[e] = dj * float32(int(high<<2|low)-4)
			}
		}
	}
}

// Q4_K: f16 d | f16 dmin | 12 bytes, 8 scales and 8 minima of 6 bits | 128 bytes q, 4 bits a value
func dequantizeQ4_K(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[144:] {
		d, dmin, scales, q := half(x), half(x[2:]), x[4:16], x[16:144]
		for j := range 8 {
			s, m := scaleMin(scales, j)
			dj, mj := d*float32(s), float32(dmin*float32(m))
			for e := 32 * j; e < 32*j+32; e++ {
				y[e] = float32(dj*float32(q[e/64*32+e%32]>>(j%2*4)&15)) - mj
			}
		}
	}
}

// Q5_K: f16 d | f16 dmin | 12 bytes as in Q4_K | 32 bytes h, bit e/32 of byte e%32 is the fifth bit of value e |
// 128 bytes q as in Q4_K
func dequantizeQ5_K(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[176:] {
		d, dmin, scales, h, q := half(x), half(x[2:]), x[4:16], x[16:48], x[48:176]
		for j := range 8 {
			s, m := scaleMin(scales, j)
			dj, mj := d*float32(s), float32(dmin*float32(m))
			for e := 32 * j; e < 32*j+32; e++ {
				low := q[e/64*32+e%32] >> (j % 2 * 4) & 15
				high := h[e%32] >> j & 1
				y[e] = float32(dj*float32(high<<4|low)) - mj
			}
		}
	}
}

// scaleMin unpacks scale s and minimum m of sub-block j (get_scale_min_k4 in ggml-quants.c). The 12 bytes hold, by bits,
//
//	0..3   s[j+4] 5,4 · s[j] 5..0
//	4..7   m[j+4] 5,4 · m[j] 5..0
//	8..11  m[j+4] 3..0 · s[j+4] 3..0      j = 0..3
func scaleMin(b []byte, j int) (s, m byte) {
	if j < 4 {
		return b[j] & 63, b[j+4] & 63
	}
	return b[j-4]>>6<<4 | b[j+4]&15, b[j]>>6<<4 | b[j+4]>>4
}

// Q6_K: 128 bytes q, 4 bits a value, stretches of 64 | 64 bytes h, 2 bits a value | 16 int8 scales | f16 d
func dequantizeQ6_K(y []float32, x []byte) {
	for ; len(y) > 0; y, x = y[256:], x[210:] {
		q, h, scales, d := x[:128], x[128:192], x[192:208], half(x[208:])
		for j, s := range scales {
			dj := d * float32(int8(s))
			for e := 16 * j; e < 16*j+16; e++ {
				low := q[e/128*64+e%64] >> (e / 64 % 2 * 4) & 15
				high := h[e/128*32+e%32] >> (e / 32 % 4 * 2) & 3
				y[e] = dj * float32(int(high<<4|low)-32)
			}
		}
	}
}
