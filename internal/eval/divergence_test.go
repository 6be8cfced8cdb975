package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

// logs returns logits whose softmax is p, shifted: a constant changes no probability.
func logs(shift float64, p ...float64) []float32 {
	x := make([]float32, len(p))
	for i, v := range p {
		x[i] = float32(math.Log(v) + shift)
	}
	return x
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// By hand: P = (1/2, 1/4, 1/4) and Q = (1/4, 1/2, 1/4) have KL(P‖Q) = 1/2·ln 2 + 1/4·ln(1/2) + 0 = 1/4·ln 2; P and P have 0; and
// P = (0.9, 0.1, 0) and Q = (0.8, 0.1, 0.1) have 0.9·ln(9/8).
func TestDivergence(t *testing.T) {
	d := &Divergence{}
	for i, x := range []struct {
		p, q  []float32
		token int32
	}{
		{logs(0, 0.5, 0.25, 0.25), logs(3, 0.25, 0.5, 0.25), 1},    // the most likely token is another; Δp = +1/4
		{logs(-7, 0.5, 0.25, 0.25), logs(1, 0.5, 0.25, 0.25), 0},   // the same; Δp = 0
		{logs(0, 0.9, 0.1, 0), logs(100, 0.8, 0.1, 0.1), 0},        // Δp = -1/10; a logit of -Inf on one side
		{logs(0, 0.5, 0.25, 0.25), logs(-50, 0.5, 0.25, 0.25), -1}, // no token follows
	} {
		if err := d.add(10+i, x.p, x.q, x.token); err != nil {
			t.Fatal(err)
		}
	}
	d.finish()
	kl := []float64{0.25 * math.Ln2, 0, 0.9 * math.Log(9./8), 0}
	const f32 = 1e-5 // logits are f32: at 100, a step of 8e-6
	mean := (kl[0] + kl[2]) / 4
	near(t, "mean", d.Mean, mean, f32)
	variance := 0.0
	for _, x := range kl {
		variance += (x - mean) * (x - mean) / 3
	}
	near(t, "standard error", d.StdErr, math.Sqrt(variance/4), f32)
	near(t, "median", d.Median, kl[2]/2, f32) // of 0, 0, 0.106, 0.173
	near(t, "99 %", d.P99, kl[2]+(kl[0]-kl[2])*0.97, f32)
	near(t, "maximum", d.Max, kl[0], f32)
	near(t, "same top 1", d.Top1, 0.75, 0)
	near(t, "same top 5", d.Top5, 1, 0)
	near(t, "mean Δp", d.DPMean, (0.25-0.1)/3, f32)
	near(t, "RMS Δp", d.DPRMS, math.Sqrt((0.0625+0.01)/3), f32)
	if len(d.Buckets) != 4 {
		t.Fatalf("%d buckets, want 4", len(d.Buckets))
	}
	for i, b := range d.Buckets { // four positions, one in each quarter
		if b.From != 10+i || b.To != 11+i || b.N != 1 {
			t.Errorf("bucket %d is %+v", i, b)
		}
		near(t, "a bucket's mean", b.Mean, kl[i], f32)
	}
}

// A token is among the other's five if at most four are more likely there; equal ones do not push it out.
func TestTopFive(t *testing.T) {
	dense := []float32{9, 1, 1, 1, 1, 1, 1, 1}
	tests := []struct {
		other      []float32
		top1, top5 float64
	}{
		{[]float32{9, 8, 8, 8, 8, 8, 8, 8}, 1, 1},
		{[]float32{8, 8, 8, 8, 8, 8, 8, 8}, 1, 1},
		{[]float32{7, 8, 8, 8, 8, 0, 0, 0}, 0, 1},
		{[]float32{7, 8, 8, 8, 8, 8, 0, 0}, 0, 0},
	}
	for _, tt := range tests {
		d := &Divergence{}
		if err := d.add(0, dense, tt.other, -1); err != nil {
			t.Fatal(err)
		}
		if d.finish(); d.Top1 != tt.top1 || d.Top5 != tt.top5 {
			t.Errorf("%v: top 1 %v, top 5 %v, want %v, %v", tt.other, d.Top1, d.Top5, tt.top1, tt.top5)
		}
	}
}

// The divergence is that of the plain formula over probabilities, for a vocabulary of usual size and logits of usual spread.
func TestDivergenceFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p, q := make([]float32, 50000), make([]float32, 50000)
	for i := range p {
		p[i] = float32(5 * r.NormFloat64())
		q[i] = p[i] + float32(0.1*r.NormFloat64())
	}
	sum := func(x []float32) (s float64) {
		for _, v := range x {
			s += math.Exp(float64(v))
		}
		return s
	}
	sp, sq, want := sum(p), sum(q), 0.0
	for i := range p {
		pi, qi := math.Exp(float64(p[i]))/sp, math.Exp(float64(q[i]))/sq
		want += pi * math.Log(pi/qi)
	}
	d := &Divergence{}
	if err := d.add(0, p, q, 7); err != nil {
		t.Fatal(err)
	}
	d.finish()
	near(t, "KL", d.Mean, want, 1e-9)
	if want < 1e-3 {
		t.Errorf("KL of %v proves nothing", want)
	}
}

func TestDivergenceNotFinite(t *testing.T) {
	good, nan, inf := []float32{1, 2}, []float32{1, float32(math.NaN())}, []float32{1, float32(math.Inf(1))}
	for _, x := range [][2][]float32{{nan, good}, {good, nan}, {inf, good}, {good, inf}} {
		if err := new(Divergence).add(0, x[0], x[1], 0); err != errNotFinite {
			t.Errorf("%v, %v: got %v, want %v", x[0], x[1], err, errNotFinite)
		}
	}
	d := &Divergence{}
	if d.finish(); d.Mean != 0 || d.Buckets != nil {
		t.Errorf("of nothing: %+v", d)
	}
}

func TestQuantile(t *testing.T) {
	tests := []struct {
		sorted []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{1, 2}, 0.5, 1.5},
		{[]float64{1, 2, 4}, 0.5, 2},
		{[]float64{1, 2, 4}, 0.75, 3},
		{[]float64{0, 10, 20, 30, 40}, 0.99, 39.6},
		{[]float64{0, 10, 20, 30, 40}, 0, 0},
		{[]float64{0, 10, 20, 30, 40}, 1, 40},
	}
	for _, tt := range tests {
		if got := quantile(tt.sorted, tt.q); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("quantile %v of %v is %v, want %v", tt.q, tt.sorted, got, tt.want)
		}
	}
}

func TestMeanError(t *testing.T) {
	tests := []struct {
		x            []float64
		mean, stderr float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 0},
		{[]float64{1, 3}, 2, 1}, // variance 2
		{[]float64{2, 4, 4, 6}, 4, math.Sqrt(8. / 3 / 4)},
	}
	for _, tt := range tests {
		if mean, stderr := meanError(tt.x); mean != tt.mean || math.Abs(stderr-tt.stderr) > 1e-12 {
			t.Errorf("%v: %v ± %v, want %v ± %v", tt.x, mean, stderr, tt.mean, tt.stderr)
		}
	}
}

// Logits of usual size and far beyond what exp can take: ln Σ exp(x) moves with the logits.
func TestNLL(t *testing.T) {
	for _, shift := range []float64{0, 800, -800} {
		near(t, "loss of a token of 1/4", nll(logs(shift, 0.5, 0.25, 0.25), 1), math.Log(4), 1e-4)
	}
	near(t, "loss of a certain token", nll([]float32{0, 1000}, 1), 0, 0)
	near(t, "loss of an impossible one", nll([]float32{0, 1000}, 0), 1000, 0)
}
