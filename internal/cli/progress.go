package cli

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on stderr, drawn only on a terminal and only for what takes a while.
type progress struct {
	terminal *os.File // nil: none
	what     string
	start    time.Time
	bar      *progressbar.ProgressBar
}

// patience is how long something may take before a bar appears.
const patience = 300 * time.Millisecond

func newProgress(e *env, what string) *progress {
	return &progress{terminal: e.terminal, what: what, start: time.Now()}
}

// set shows done of total; when all is done the bar goes away.
func (p *progress) set(done, total int) {
	switch {
	case p.terminal == nil:
		return
	case done >= total:
		p.finish()
		return
	case p.bar == nil && time.Since(p.start) < patience:
		return
	case p.bar == nil:
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.terminal), progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())
	}
	p.bar.Set(done)
}

// finish takes the bar away. It may be called more than once.
func (p *progress) finish() {
	if p.bar != nil {
		p.bar.Finish()
		p.bar = nil
	}
}
