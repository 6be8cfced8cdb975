package sample

func penaltiesOn(p *Params) bool {
	return p.RepeatLastN != 0 && (p.RepeatPenalty != 1 || p.PresencePenalty != 0 || p.FrequencyPenalty != 0)
}

// penalties lowers the logits of the tokens in the last RepeatLastN: nearer to -Inf by the factor RepeatPenalty (CTRL, arXiv
// 1909.05858), and by PresencePenalty and by FrequencyPenalty for each time.
func (s *Sampler) penalties() {
	adjust(&s.c, s.counts, func(l float32, count int32) float32 {
		if l > 0 {
			l /= s.p.RepeatPenalty
		} else {
			l *= s.p.RepeatPenalty
		}
		return l - (float32(float32(count)*s.p.FrequencyPenalty) + s.p.PresencePenalty)
	})
}

// countLast moves the penalties' window forward to end with the last token.
func (s *Sampler) countLast() {
	if s.counts == nil {
		return
	}
	n, w := len(s.history), s.p.RepeatLastN
	s.counts[s.history[n-1]]++
	if w > 0 && n > w {
		old := s.history[n-1-w]
		if s.counts[old]--; s.counts[old] == 0 {
			delete(s.counts, old)
		}
	}
}

// recount counts the penalties' window anew.
func (s *Sampler) recount() {
	if s.counts == nil {
		return
	}
	clear(s.counts)
	for _, id := range window(s.history, s.p.RepeatLastN) {
		s.counts[id]++
	}
}

// window returns the last n tokens of history, all of them if n is negative.
func window(history []int32, n int) []int32 {
	if n < 0 || n >= len(history) {
		return history
	}
	return history[len(history)-n:]
}
