package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on stderr, drawn only on a terminal and only for what takes a while.
type progress struct {
	e     *env
	what  string
	start time.Time
	bar   *progressbar.ProgressBar
}

// patience is how long something may take before a bar appears.
const patience = 300 * time.Millisecond

func newProgress(e *env, what string) *progress {
	return &progress{e: e, what: what, start: time.Now()}
}

// set shows done of total.
func (p *progress) set(done, total int) {
	if !p.e.terminal {
		return
	}
	if p.bar == nil {
		if done >= total || time.Since(p.start) < patience {
			return
		}
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.e.stderr), progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())
	}
	p.bar.Set(done)
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		p.bar.Finish()
		p.bar = nil
	}
}
