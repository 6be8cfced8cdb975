package cpu

import (
	"os"
	"regexp"
	"testing"
)

// The assembler quietly takes registers and instructions that a level does not have: AVX2 code must do with 16 registers of 32 bytes and no masks.
func TestAVX2UsesItsOwnRegisters(t *testing.T) {
	var src []byte
	for _, part := range []string{"rows", "weights", "attention"} {
		b, err := os.ReadFile(part + "_amd64.s")
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, b...)
	}
	function := regexp.MustCompile(`(?s)TEXT ·(\w+AVX2)\(SB\).*?\tRET\n`)
	foreign := regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b|BCST|VPDPBUSD|VPTERNLOG|VMOVDQU64|VPXORD|VPANDD`)
	found := function.FindAllSubmatch(src, -1)
	if len(found) < 20 {
		t.Fatalf("%d AVX2 functions found", len(found))
	}
	for _, f := range found {
		if bad := foreign.Find(f[0]); bad != nil {
			t.Errorf("%s uses %s", f[1], bad)
		}
	}
}
