package sparse

import "math"

// Attend is the reference of attention over rows: out = softmax(scale·q·Kᵀ)·V in float64, for one query head over n rows.
// k and v expand row i of K and V into their argument.
func Attend(out, q []float32, n int, scale float32, k, v func(dst []float32, i int)) {
	row := make([]float32, len(q))
	score := make([]float64, n)
	top := math.Inf(-1)
	for i := range score {
		k(row, i)
		for c, x := range row {
			score[i] += float64(q[c]) * float64(x)
		}
		score[i] *= float64(scale)
		top = max(top, score[i])
	}
	sum, acc := 0.0, make([]float64, len(q))
	for i, s := range score {
		p := math.Exp(s - top)
		sum += p
		v(row, i)
		for c, x := range row {
			acc[c] += p * float64(x)
		}
	}
	for c := range acc {
		out[c] = float32(acc[c] / sum)
	}
}
