package generate

import "strings"

// stopper passes text on, but for what might be the beginning of a stop text, until one comes.
type stopper struct {
	stops []string
	emit  func(string)
	text  strings.Builder
	held  string
	done  bool
}

func newStopper(stops []string, emit func(string)) *stopper {
	s := &stopper{emit: emit}
	for _, x := range stops {
		if x != "" {
			s.stops = append(s.stops, x)
		}
	}
	return s
}

// add takes more text and reports whether a stop text is complete; then the text before it is all there is.
func (s *stopper) add(t string) bool {
	if s.done {
		return true
	}
	s.held += t
	first := -1
	for _, stop := range s.stops {
		if i := strings.Index(s.held, stop); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		s.held, s.done = s.held[:first], true
		s.flush()
		return true
	}
	keep := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				keep = n
				break
			}
		}
	}
	s.pass(len(s.held) - keep)
	return false
}

// flush passes on what was held.
func (s *stopper) flush() { s.pass(len(s.held)) }

func (s *stopper) pass(n int) {
	if n == 0 {
		return
	}
	s.text.WriteString(s.held[:n])
	if s.emit != nil {
		s.emit(s.held[:n])
	}
	s.held = s.held[n:]
}

// String returns all text that was passed on.
func (s *stopper) String() string { return s.text.String() }
