package tokenizer

import "unicode/utf8"

// Stream turns tokens into text while they come. The text of all calls together is that of Decode without special
// tokens, but for the spaces that Decode takes away: a stream goes on after a prompt.
type Stream struct {
	vocab *vocab
	held  []byte // the beginning of a rune, at most 3 bytes
}

// NewStream returns a stream at its beginning. A stream belongs to one goroutine.
func (t *Tokenizer) NewStream() *Stream { return &Stream{vocab: t.vocab} }

// Add takes the next token and returns the text that is complete with it, never a part of a rune. Bytes that can no
// longer become a rune are returned as they are. Special tokens have no text.
func (s *Stream) Add(id int32) string {
	if s.vocab.IsSpecial(id) {
		return ""
	}
	s.held = append(s.held, s.vocab.Piece(id)...)
	n := len(s.held) - unfinished(s.held)
	text := string(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return text
}

// Flush returns what is left: the beginning of a rune that never came to its end, mostly nothing. The stream is then at
// its beginning again.
func (s *Stream) Flush() string {
	text := string(s.held)
	s.held = s.held[:0]
	return text
}

// unfinished returns how many bytes at the end of b begin a rune and do not end it.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
