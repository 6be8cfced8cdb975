package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The splitting that most models have, by hand: ten times as fast as regexp, and with the lookahead that regexp lacks.
// Above each stage stands its pattern, in which \s, \p{L} and the rest are over all of Unicode.

// class is what a pattern sees of a rune. A rune has one class.
type class uint8

const (
	letter   class = 1 << iota // \p{L}
	number                     // \p{N}
	blank                      // \s
	mark                       // \p{M}
	other                      // the rest, and bytes that are not UTF-8
	anything = letter | number | blank | mark | other
)

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return blank
	case unicode.IsMark(r):
		return mark
	}
	return other
}

var ascii = func() (a [utf8.RuneSelf]class) {
	for r := range a {
		a[r] = classOf(rune(r))
	}
	return a
}()

// classAt returns the class of the rune at s[i:] and its bytes; at the end of s no class.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return 0, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return ascii[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classOf(r), n
}

// run returns where the runes of the classes in end that begin at s[i:].
func run(s string, i int, in class) int {
	for {
		c, n := classAt(s, i)
		if c&in == 0 {
			return i
		}
		i += n
	}
}

// gpt2 splits like GPT-2:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2(s string) int {
	if n := contraction(s, 0); n > 0 && s[1:n] == strings.ToLower(s[1:n]) {
		return n
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	switch c, _ := classAt(s, i); c {
	case letter, number:
		return run(s, i, c)
	case mark, other:
		return run(s, i, mark|other)
	}
	return blanks(s)
}

// llama3 returns a function that splits like Llama 3 (letters are \p{L}, digits 3), Qwen 2 (digits 1) and Qwen 3.5 (letters
// are [\p{L}\p{M}]):
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func llama3(letters class, digits int) stage {
	return func(s string) int {
		if n := contraction(s, 0); n > 0 {
			return n
		}
		if i := lead(s); i > 0 {
			if n := run(s, i, letters); n > i {
				return n
			}
		}
		if n := run(s, 0, letters); n > 0 {
			return n
		}
		if n := upTo(s, number, digits); n > 0 {
			return n
		}
		if n := signs(s, anything&^(letters|number|blank), "\r\n"); n > 0 {
			return n
		}
		return newlines(s)
	}
}

// tekken returns a function that splits like Mistral's Tekken (digits 1) or, with the contractions, like GPT-4o (digits 3).
// A word ends where capitals follow small letters; letters other than a-z and A-Z count as both, as in llama.cpp:
//
//	[^\r\n\p{L}\p{N}]?((?=\p{L})[^a-z])*((?=\p{L})[^A-Z])+|[^\r\n\p{L}\p{N}]?((?=\p{L})[^a-z])+((?=\p{L})[^A-Z])*|\p{N}|
//	 ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
func tekken(contractions bool, digits int) stage {
	return func(s string) int {
		i := lead(s)
		if n := cased(s, i); n > i {
			if contractions {
				n += contraction(s, n)
			}
			return n
		}
		if n := upTo(s, number, digits); n > 0 {
			return n
		}
		if n := signs(s, mark|other, "\r\n/"); n > 0 {
			return n
		}
		return newlines(s)
	}
}

// digits returns a function that splits numbers from the rest, at most so many digits in one: \p{N}{1,most}.
func digits(most int) stage {
	return func(s string) int {
		if n := upTo(s, number, most); n > 0 {
			return n
		}
		return run(s, 0, anything&^number)
	}
}

// contraction returns the bytes of (?i:'s|'t|'re|'ve|'m|'ll|'d) at s[i:], 0 if there is none.
func contraction(s string, i int) int {
	s = s[i:]
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	switch s[1] | 0x20 { // an ASCII letter in lower case
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch string([]byte{s[1] | 0x20, s[2] | 0x20}) {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}

// lead returns the bytes of [^\r\n\p{L}\p{N}] at the beginning of s, 0 if there is none.
func lead(s string) int {
	c, n := classAt(s, 0)
	if c&(letter|number) != 0 || s[0] == '\r' || s[0] == '\n' {
		return 0
	}
	return n
}

// upTo returns the bytes of at most so many runes of a class at the beginning of s.
func upTo(s string, in class, most int) int {
	i := 0
	for range most {
		c, n := classAt(s, i)
		if c&in == 0 {
			break
		}
		i += n
	}
	return i
}

// cased returns where the letters of one word that begins at s[i:] end: capitals and then small letters, U*L+|U+L*.
func cased(s string, i int) int {
	both := -1 // where the last letter so far that counts as both ends
	for {
		c, n := classAt(s, i)
		if c != letter || n == 1 && s[i] >= 'a' {
			break
		}
		i += n
		if n > 1 {
			both = i
		}
	}
	small := i
	for {
		c, n := classAt(s, small)
		if c != letter || n == 1 && s[small] < 'a' {
			break
		}
		small += n
	}
	if small == i && both >= 0 {
		return both // the pattern asks for a small letter, and this is the last one it finds on its way back
	}
	return small
}

// signs returns the bytes of " ?[in]+[tail]*" at the beginning of s, 0 if there is none.
func signs(s string, in class, tail string) int {
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	n := run(s, i, in)
	if n == i {
		return 0
	}
	return len(s) - len(strings.TrimLeft(s[n:], tail))
}

// newlines returns the bytes of \s*[\r\n]+|\s+(?!\S)|\s+ at the beginning of s, which is white space.
func newlines(s string) int {
	if i := strings.LastIndexAny(s[:run(s, 0, blank)], "\r\n"); i >= 0 {
		return i + 1
	}
	return blanks(s)
}

// blanks returns the bytes of \s+(?!\S)|\s+ at the beginning of s, which is white space: what comes before a word but for
// one rune, which is the word's.
func blanks(s string) int {
	n := run(s, 0, blank)
	if n == len(s) {
		return n
	}
	_, last := utf8.DecodeLastRuneInString(s[:n])
	if n > last {
		return n - last
	}
	return n
}
