package cpu

import (
	"math"

	"mustafar/backend"
)

// expertBuffers are what Experts works in; they grow to the largest call.
type expertBuffers struct {
	router, x, gate, up, y []float32
	pick                   []int32   // (n, used) experts of a row, the strongest first
	share                  []float32 // (n, used)
	rows                   []int32   // of x that an expert takes
}

// Experts routes every row to its strongest experts and adds their outputs, weighted.
func (c *CPU) Experts(out, x backend.Tensor, e *backend.Experts) {
	router, gate, up, down := e.Router.(*weight), e.Gate.(*weight), e.Up.(*weight), e.Down.(*weight)
	embd, ff, n, b := x.Cols, gate.rows/e.Count, x.Rows, &c.moe
	backend.MustMatch("Experts", n, down.rows/e.Count, out, x)

	probs := grow(&b.router, n*e.Count)
	c.multiply(floats(x), n, product{y: probs, w: router})
	b.route(probs, n, e)

	y := floats(out)
	clear(y)
	for i := range e.Count {
		b.rows = b.rows[:0]
		in := grow(&b.x, n*embd)
		for r := range n {
			for _, p := range b.pick[r*e.Used:][:e.Used] {
				if int(p) == i {
					copy(in[len(b.rows)*embd:][:embd], floats(x)[r*embd:])
					b.rows = append(b.rows, int32(r))
				}
			}
		}
		m := len(b.rows)
		if m == 0 {
			continue
		}
		g, u, d := grow(&b.gate, n*ff), grow(&b.up, n*ff), grow(&b.y, n*embd)
		c.multiply(in, m, product{y: g, w: gate.part(i, e.Count)}, product{y: u, w: up.part(i, e.Count)})
		c.k.swiglu(g[:m*ff], g[:m*ff], u[:m*ff])
		c.multiply(g, m, product{y: d, w: down.part(i, e.Count)})
		for k, r := range b.rows {
			c.k.axpy(y[int(r)*embd:][:embd], b.shareOf(int(r), i, e.Used), d[k*embd:][:embd])
		}
	}
}

// route chooses the Used largest of each row's router outputs, the lower expert among equals, and their shares of softmax.
func (b *expertBuffers) route(probs []float32, n int, e *backend.Experts) {
	b.pick, b.share = grow(&b.pick, n*e.Used), grow(&b.share, n*e.Used)
	for r := range n {
		row, pick, share := probs[r*e.Count:][:e.Count], b.pick[r*e.Used:][:e.Used], b.share[r*e.Used:][:e.Used]
		sum := float32(0)
		for k := range pick {
			pick[k] = argMax(row)
			share[k] = row[pick[k]]
			row[pick[k]] = float32(math.Inf(-1))
		}
		top := share[0]
		for k := range share {
			share[k] = float32(math.Exp(float64(share[k] - top)))
			sum += share[k]
		}
		for k := range share {
			share[k] /= sum
		}
	}
}

func (b *expertBuffers) shareOf(row, expert, used int) float32 {
	for k, p := range b.pick[row*used:][:used] {
		if int(p) == expert {
			return b.share[row*used+k]
		}
	}
	return 0
}
