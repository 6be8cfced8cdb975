// Command generate writes the assembly of backend/cpu, one part a run:
//
//	go run . -part weights -out ../weights_amd64.s -stubs ../weights_amd64.go -pkg cpu
//
// The part "weights" also writes tables_amd64.go, where Go finds kernels by type and size.
package main

import (
	"flag"
	"log"

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
	part := flag.String("part", "", "what to write: rows, weights or attention")
	flag.Parse()
	ConstraintExpr("!noasm")
	levels := []level{avx512, avx2}
	switch *part {
	case "rows":
		pauseFunction()
		for _, l := range levels {
			l.dot()
			l.axpy()
			l.scaleBy()
			l.swiglu()
			l.rope()
			l.halves()
			l.toHalves()
			l.quantise()
		}
	case "weights":
		for _, l := range levels {
			l.matrices()
		}
		if err := writeTables("../tables_amd64.go", levels); err != nil {
			log.Fatal(err)
		}
	case "attention":
		for _, l := range levels {
			l.softmax()
			l.transpose()
		}
		decode()
		rowDots()
		rowSums()
		encode()
		expansions()
	default:
		log.Fatalf("no part %q", *part)
	}
	Generate()
}

// matrices are the kernels of packed weights.
func (l level) matrices() {
	direct, panels := l.panels()
	for _, m := range append(direct, panels...) {
		for _, typ := range []string{"F32", "F16", "BF16"} {
			l.floatKernel(typ, m, false)
		}
		l.floatKernel("F32", m, true)
	}
	kinds := map[tileKind]bool{}
	for _, f := range formats {
		for _, m := range direct {
			l.productKernel(f, m)
		}
		l.unpackKernel(f)
		l.unpackFloatKernel(f)
		if k := l.tileKind(f); !kinds[k] {
			kinds[k] = true
			for _, m := range panels {
				l.tileKernel(k, m)
			}
		}
	}
}

// global returns read-only data, written the first time it is asked for.
func global(name string, fill func()) operand.Mem {
	m, ok := globals[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		fill()
		globals[name] = m
	}
	return m
}

var globals = map[string]operand.Mem{}

// zero clears a register, by the one instruction of every size whose inputs avo knows not to matter.
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
