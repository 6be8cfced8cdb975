package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// promptFlags say where a prompt comes from, or another text.
type promptFlags struct {
	f           *flags
	text, file  string
	escape, raw bool
}

// addPromptFlags registers them; what is what the text is for a command.
func addPromptFlags(f *flags, what string) *promptFlags {
	p := &promptFlags{f: f}
	f.in("Text")
	f.str(&p.text, "-p, --prompt", "TEXT", "the "+what, "")
	f.str(&p.file, "-f, --file", "FILE", "read the "+what+" from a file; without -p and -f it comes from stdin", "")
	f.boolean(&p.escape, "-e, --escape", `turn \n, \t, \", \xNN … into characters in a file or stdin too, not only on the command line`)
	f.boolean(&p.raw, "--no-escape", "leave backslashes on the command line alone")
	return p
}

// read returns the prompt: the word that takes its place, -p, -f or, where none is given, all of stdin.
func (p *promptFlags) read(ctx context.Context, e *env, words ...string) (string, error) {
	text, file := p.f.given("-p") || len(words) > 0, p.f.given("-f")
	switch {
	case len(words) > 1 || len(words) == 1 && p.f.given("-p"):
		return "", usagef("%s: %q: want one text", p.f.cmd, words)
	case text && file:
		return "", usagef("%s: give a text or -f FILE, not both", p.f.cmd)
	case text:
		if len(words) > 0 {
			p.text = words[0]
		}
		if !p.raw {
			p.text = unescape(p.text)
		}
		return p.text, nil
	case file:
		b, err := await(ctx, func() ([]byte, error) { return os.ReadFile(p.file) })
		return p.fromFile(p.file, b, err)
	case isTerminal(e.stdin):
		return "", usagef("%s: which text? give it, or -f FILE, or pipe it in", p.f.cmd)
	}
	b, err := await(ctx, func() ([]byte, error) { return io.ReadAll(e.stdin) })
	return p.fromFile("stdin", b, err)
}

// fromFile makes a prompt of a file that was read. It drops the newline that ends a text file, as llama.cpp does.
func (p *promptFlags) fromFile(name string, b []byte, err error) (string, error) {
	text, err := textOf(name, b, err)
	text = strings.TrimSuffix(text, "\n")
	if p.escape {
		text = unescape(text)
	}
	return text, err
}

// textOf returns the contents of a file, unless that is no text: no encoding but UTF-16 and UTF-32 writes bytes of 0.
func textOf(name string, b []byte, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("reading the text: %w", err)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return "", fmt.Errorf("reading the text: %s: byte %d is 0: want a text in UTF-8", name, i)
	}
	return string(b), nil
}

// await returns f's result, or errInterrupted as soon as ctx ends: f, which may never return, is then left alone.
func await[T any](ctx context.Context, f func() (T, error)) (v T, err error) {
	done := make(chan struct{})
	var got T
	var failed error
	go func() {
		got, failed = f()
		close(done)
	}()
	select {
	case <-done:
		return got, failed
	case <-ctx.Done():
		return v, errInterrupted
	}
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// unescape turns \n \r \t \" \' \\ and \xNN into characters; other backslashes stay. (common/common.cpp of llama.cpp has the same list)
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '"', '\'', '\\':
			b.WriteByte(s[i])
		case 'x':
			if v, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8); err == nil && i+3 <= len(s) {
				b.WriteByte(byte(v))
				i += 2
			} else {
				b.WriteString(`\x`)
			}
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
