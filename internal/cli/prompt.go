package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// promptFlags say where a prompt comes from.
type promptFlags struct {
	f           *flags
	text, file  string
	escape, raw bool
}

func addPromptFlags(f *flags) *promptFlags {
	p := &promptFlags{f: f}
	f.in("Prompt")
	f.str(&p.text, "p,prompt", "TEXT", "the prompt", "")
	f.str(&p.file, "f,file", "FILE", "read the prompt from a file", "")
	f.boolean(&p.escape, "e,escape", `turn \n, \t, \", \xNN … into characters: in -p always, in a file where this is given`)
	f.boolean(&p.raw, "no-escape", "leave backslashes in -p alone")
	return p
}

// read returns the prompt: -p, -f or, where neither is given, all of stdin.
func (p *promptFlags) read(e *env) (string, error) {
	text, file := p.f.given("p", "prompt"), p.f.given("f", "file")
	switch {
	case text && file:
		return "", usagef("%s: give -p or -f, not both", p.f.cmd)
	case text:
		if p.raw {
			return p.text, nil
		}
		return unescape(p.text), nil
	case file:
		b, err := os.ReadFile(p.file)
		if err != nil {
			return "", fmt.Errorf("reading the prompt: %w", err)
		}
		return p.fromFile(string(b)), nil
	}
	if isTerminal(e.stdin) {
		return "", usagef("%s: which prompt? give -p TEXT, -f FILE or pipe it in", p.f.cmd)
	}
	b, err := io.ReadAll(e.stdin)
	if err != nil {
		return "", fmt.Errorf("reading the prompt from stdin: %w", err)
	}
	return p.fromFile(string(b)), nil
}

// fromFile drops the newline that ends a text file, as llama.cpp does.
func (p *promptFlags) fromFile(s string) string {
	s = strings.TrimSuffix(s, "\n")
	if p.escape {
		s = unescape(s)
	}
	return s
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
