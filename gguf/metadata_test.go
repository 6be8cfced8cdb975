package gguf

import (
	"math"
	"slices"
	"testing"
)

func TestGetters(t *testing.T) {
	f, err := parse(write(t, append([]KV{
		{"huge", uint64(math.MaxUint64)}, {"large", []uint32{1 << 31}}, {"negative", []int64{-1, math.MinInt32}},
	}, allKinds...)))
	if err != nil {
		t.Fatal(err)
	}
	f.Path = "m.gguf"

	for key, want := range map[string]int{"u8": 8, "i8": -8, "u16": 16, "i16": -16, "u32": 32, "i32": -32, "u64": 64, "i64": -64} {
		if got, err := f.Int(key); got != want || err != nil {
			t.Errorf("Int(%q) = %v, %v, want %v", key, got, err, want)
		}
		if got, err := f.Float(key); got != float64(want) || err != nil {
			t.Errorf("Float(%q) = %v, %v, want %v", key, got, err, want)
		}
	}
	for key, want := range map[string]int32{"u8s": 8, "i8s": -8, "u16s": 16, "i16s": -16, "u32s": 32, "i32s": -32, "u64s": 64, "i64s": -64} {
		if got, err := f.Ints(key); !slices.Equal(got, []int32{want}) || err != nil {
			t.Errorf("Ints(%q) = %v, %v, want [%v]", key, got, err, want)
		}
	}
	if got, err := f.Ints("negative"); !slices.Equal(got, []int32{-1, math.MinInt32}) || err != nil {
		t.Errorf("Ints(negative) = %v, %v", got, err)
	}
	for key, want := range map[string]float64{"f32": 0.5, "f64": 0.25} {
		if got, err := f.Float(key); got != want || err != nil {
			t.Errorf("Float(%q) = %v, %v, want %v", key, got, err, want)
		}
	}
	if got, err := f.String("string"); got != "s" || err != nil {
		t.Errorf("String = %q, %v", got, err)
	}
	if got, err := f.Bool("bool"); !got || err != nil {
		t.Errorf("Bool = %v, %v", got, err)
	}
	if got, err := f.Strings("strings"); !slices.Equal(got, []string{"a", "", "not \xff UTF-8"}) || err != nil {
		t.Errorf("Strings = %q, %v", got, err)
	}
	if got, err := f.Floats("f32s"); !slices.Equal(got, []float32{0.5}) || err != nil {
		t.Errorf("Floats = %v, %v", got, err)
	}
	if !f.Has("u8") || f.Has("absent") {
		t.Error("Has is wrong")
	}

	// Absent, of another type, out of range: in both forms, but for the default of an absent key.
	tests := []struct {
		call string
		got  func(key string) error
		keys map[string]string // key to what the error says was found
	}{
		{"Int", func(k string) error { _, err := f.Int(k); return err },
			map[string]string{"absent": "missing", "f32": "float32 0.5", "bool": "bool true", "huge": "uint64 18446744073709551615", "i32s": "[]int32 of 1"}},
		{"IntOr", func(k string) error { _, err := f.IntOr(k, 1); return err }, map[string]string{"string": `string "s"`}},
		{"Float", func(k string) error { _, err := f.Float(k); return err }, map[string]string{"absent": "missing", "string": `string "s"`}},
		{"FloatOr", func(k string) error { _, err := f.FloatOr(k, 1); return err }, map[string]string{"bool": "bool true"}},
		{"String", func(k string) error { _, err := f.String(k); return err }, map[string]string{"absent": "missing", "u8": "uint8 8"}},
		{"StringOr", func(k string) error { _, err := f.StringOr(k, "d"); return err }, map[string]string{"strings": "[]string of 3"}},
		{"Bool", func(k string) error { _, err := f.Bool(k); return err }, map[string]string{"absent": "missing", "u8": "uint8 8"}},
		{"BoolOr", func(k string) error { _, err := f.BoolOr(k, true); return err }, map[string]string{"u8": "uint8 8"}},
		{"Strings", func(k string) error { _, err := f.Strings(k); return err }, map[string]string{"absent": "missing", "string": `string "s"`}},
		{"Floats", func(k string) error { _, err := f.Floats(k); return err }, map[string]string{"absent": "missing", "f64s": "[]float64 of 1"}},
		{"Ints", func(k string) error { _, err := f.Ints(k); return err },
			map[string]string{"absent": "missing", "large": "[]uint32 of 1", "u8": "uint8 8", "nested": "[]interface {} of 3"}},
	}
	for _, tt := range tests {
		for key, found := range tt.keys {
			t.Run(tt.call+" "+key, func(t *testing.T) {
				wantError(t, tt.got(key), []string{"gguf: m.gguf: key ", `"` + key + `" is `, found, ", want a"})
			})
		}
	}

	if got, err := f.IntOr("absent", 7); got != 7 || err != nil {
		t.Errorf("IntOr = %v, %v", got, err)
	}
	if got, err := f.FloatOr("absent", 7); got != 7 || err != nil {
		t.Errorf("FloatOr = %v, %v", got, err)
	}
	if got, err := f.StringOr("absent", "d"); got != "d" || err != nil {
		t.Errorf("StringOr = %v, %v", got, err)
	}
	if got, err := f.BoolOr("absent", true); !got || err != nil {
		t.Errorf("BoolOr = %v, %v", got, err)
	}
}
