// Command generate writes the assembly of backend/cpu: go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg cpu
package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// level is a SIMD level of the package, and how wide its registers are.
type level struct {
	suffix string // of the kernels' names
	bytes  int
	vnni   bool
}

var (
	avx512 = level{"AVX512", 64, true}
	avx2   = level{"AVX2", 32, false}
)

// vec returns a new vector register of the level's width.
func (l level) vec() reg.VecVirtual {
	if l.bytes == 64 {
		return ZMM()
	}
	return YMM()
}

// lanes is the number of f32 in a register.
func (l level) lanes() int { return l.bytes / 4 }

func main() {
	ConstraintExpr("!noasm")
	pauseFunction()
	for _, l := range []level{avx512, avx2} {
		l.dot()
		l.axpy()
		l.dotHalf()
		l.dotBF16()
		l.halves()
		l.toHalves()
		l.quantise()
		l.dotQ4(false)
		l.dotQ4(true)
		l.dotQ8()
	}
	Generate()
}

// zero clears a register.
func zero(r reg.VecVirtual) { VXORPS(r, r, r) }

// sumLanes adds up the lanes of r and returns the sum in the lowest lane of an xmm register.
func sumLanes(r reg.VecVirtual) reg.VecVirtual {
	if r.Size() == 64 {
		high := YMM()
		VEXTRACTF64X4(operand.U8(1), r, high)
		VADDPS(high, r.AsY(), high)
		r = high
	}
	x := XMM()
	VEXTRACTF128(operand.U8(1), r, x)
	VADDPS(x, r.AsX(), x)
	t := XMM()
	VSHUFPS(operand.U8(0x4e), x, x, t)
	VADDPS(t, x, x)
	VSHUFPS(operand.U8(0xb1), x, x, t)
	VADDPS(t, x, x)
	return x
}

func pauseFunction() {
	TEXT("pause", NOSPLIT, "func()")
	Doc("pause tells the processor that this thread is waiting for another.")
	PAUSE()
	RET()
}
