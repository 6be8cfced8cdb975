package report

import (
	"errors"
	"strings"
	"testing"
)

func table() *Table {
	t := &Table{Head: []string{"cache", "KV", "text"}}
	t.Add("dense", "45.0", "a|b")
	t.Add("sparse:0.7", "11.8 ±1", "naïve →")
	t.Add("short")
	return t
}

func TestMarkdown(t *testing.T) {
	const want = `| cache      | KV      | text    |
|------------|---------|---------|
| dense      | 45.0    | a\|b    |
| sparse:0.7 | 11.8 ±1 | naïve → |
| short      |         |         |
`
	var b strings.Builder
	if err := table().Markdown(&b); err != nil || b.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestText(t *testing.T) {
	const want = `cache       KV       text
dense       45.0     a|b
sparse:0.7  11.8 ±1  naïve →
short                
`
	var b strings.Builder
	if err := table().Text(&b); err != nil || b.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestAddTooMany(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a row wider than the head was taken")
		}
	}()
	(&Table{Head: []string{"one"}}).Add("a", "b")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteError(t *testing.T) {
	if err := table().Markdown(full{}); err == nil {
		t.Error("Markdown: no error")
	}
	if err := table().Text(full{}); err == nil {
		t.Error("Text: no error")
	}
}
