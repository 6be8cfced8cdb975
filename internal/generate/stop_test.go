package generate

import (
	"slices"
	"strings"
	"testing"
)

// What comes in pieces goes out but for what might begin a stop text, until one is there. Emitted pieces are compared, so that nothing is
// held back longer than need be.
func TestStopper(t *testing.T) {
	tests := []struct {
		name   string
		stops  []string
		pieces []string
		emits  []string
		ends   bool
	}{
		{"no stop texts", nil, []string{"a", "", "b"}, []string{"a", "b"}, false},
		{"an empty one stops nothing", []string{""}, []string{"a"}, []string{"a"}, false},
		{"in one piece", []string{"END"}, []string{"the ENDing"}, []string{"the "}, true},
		{"over pieces", []string{"END"}, []string{"a E", "N", "D", "b"}, []string{"a "}, true},
		{"what only looked like one", []string{"END"}, []string{"a E", "N", "E", "x"}, []string{"a ", "EN", "Ex"}, false},
		{"held at the end", []string{"END"}, []string{"a EN"}, []string{"a ", "EN"}, false},
		{"the earliest of several", []string{"two", "one"}, []string{"a one two"}, []string{"a "}, true},
		{"one that begins another", []string{"abc", "ab"}, []string{"xa", "b", "c"}, []string{"x"}, true},
		{"one within the beginning of another", []string{"abcd", "c"}, []string{"ab", "c"}, []string{"ab"}, true},
		{"overlapping itself", []string{"aab"}, []string{"a", "a", "a", "b"}, []string{"a"}, true},
		{"at once", []string{"x"}, []string{"x"}, nil, true},
		{"of several runes", []string{"→é"}, []string{"1 →", "e →", "é"}, []string{"1 ", "→e "}, true},
		{"a newline before anything", []string{"\n\n"}, []string{"\n", "a", "\n", "\n"}, []string{"\na"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var emits []string
			s := newStopper(tt.stops, func(text string) { emits = append(emits, text) })
			stopped := false
			for _, p := range tt.pieces {
				stopped = s.add(p)
			}
			if !stopped {
				s.flush()
			}
			if stopped != tt.ends || !slices.Equal(emits, tt.emits) {
				t.Errorf("stopped %t after %q, want %t after %q", stopped, emits, tt.ends, tt.emits)
			}
			if s.String() != strings.Join(emits, "") {
				t.Errorf("the text is %q, emitted were %q", s.String(), emits)
			}
		})
	}
}

// However a text is cut into pieces, the stop text is found at the same place.
func TestStopperAnyCut(t *testing.T) {
	const text, want = "one, two, thr three, four", "one, two, thr "
	for cuts := range 1 << (len(text) - 1) >> 8 { // every way to cut the first 17 bytes
		s := newStopper([]string{"three", "for", "fourth"}, nil)
		from := 0
		for i := 1; i < len(text); i++ {
			if cuts>>(i-1)&1 == 1 {
				s.add(text[from:i])
				from = i
			}
		}
		if !s.add(text[from:]) || s.String() != want {
			t.Fatalf("cut at %b: %q, want %q", cuts, s.String(), want)
		}
	}
}
