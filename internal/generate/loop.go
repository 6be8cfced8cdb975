// Package generate is the loop from a prompt's tokens to an answer's: prompts and decode steps of many sequences share forward passes.
package generate

import (
	"context"
	"errors"
	"time"

	"mustafar/backend"
	"mustafar/internal/sample"
	"mustafar/kvcache"
	"mustafar/model"
	"mustafar/model/tokenizer"
)

// Loop runs jobs on one model and cache. It is used by one goroutine.
type Loop struct {
	Backend   backend.Backend
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer
	Cache     *kvcache.Cache
	Chunk     int // tokens of a prompt that pass at once
	Ctx       int // tokens that a sequence may hold

	jobs   []*Job
	batch  kvcache.Batch
	wants  []*Job // whose logits the batch wants, in order
	logits []float32
}

// Request asks for an answer to the tokens of a prompt, behind what its sequence holds.
type Request struct {
	Seq      kvcache.Seq
	Prompt   []int32         // at least one token
	Sampler  *sample.Sampler // has accepted what the sequence holds, not yet the prompt
	Max      int             // tokens to generate; below 0: until the model ends the answer or the context is full
	Stops    []string        // texts that end the answer; they are not part of it
	Emit     func(text string)
	Progress func(done, total int) // of the prompt, in tokens; may be nil
	Prompted func()                // the prompt has passed, no token of the answer has; may be nil
}

// Reasons why an answer ends.
const (
	StopEOG       = "eog"       // the model ended it
	StopLength    = "length"    // Max tokens
	StopContext   = "context"   // the context is full
	StopText      = "stop"      // a text of Stops came
	StopInterrupt = "interrupt" // the context was cancelled
)

// Result is what became of a request.
type Result struct {
	Text         string
	Tokens       []int32 // generated ones, the end-of-generation token not among them
	PromptTokens int
	Stop         string
	Timings
}

// Timings of one job. With other jobs beside it, the times are of passes that they shared.
type Timings struct {
	PromptN       int // tokens of the prompt that passed
	PromptTime    time.Duration
	PredictedN    int // decode steps: the first token comes from the prompt's pass
	PredictedTime time.Duration
	SampleTime    time.Duration
}

// PromptRate and PredictedRate are in tokens a second, 0 where there were none.
func (t Timings) PromptRate() float64    { return rate(t.PromptN, t.PromptTime) }
func (t Timings) PredictedRate() float64 { return rate(t.PredictedN, t.PredictedTime) }

func rate(n int, d time.Duration) float64 {
	if n == 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// Job is a request on its way.
type Job struct {
	Request
	Result
	prefill  *model.Prefill
	prompted bool  // the prompt has passed
	next     int32 // the token to decode then
	pos      int   // its position
	done     bool
	text     *stopper
	stream   *tokenizer.Stream
}

// Done reports whether Result is final.
func (j *Job) Done() bool { return j.done }

// ErrEmptyPrompt is returned for a request without tokens.
var ErrEmptyPrompt = errors.New("the prompt is empty")

// Add queues a request.
func (l *Loop) Add(r Request) (*Job, error) {
	if len(r.Prompt) == 0 {
		return nil, ErrEmptyPrompt
	}
	j := &Job{Request: r, pos: l.Cache.Len(r.Seq) + len(r.Prompt), text: newStopper(r.Stops, r.Emit), stream: l.Tokenizer.NewStream()}
	j.PromptTokens, j.PromptN = len(r.Prompt), len(r.Prompt)
	r.Sampler.Accept(r.Prompt...)
	l.jobs = append(l.jobs, j)
	return j, nil
}

// Run steps until all jobs are done, ctx is cancelled, or a step fails; then the jobs that were not done end with StopInterrupt, their text so far kept.
func (l *Loop) Run(ctx context.Context) error {
	var err error
	for len(l.jobs) > 0 && ctx.Err() == nil && err == nil {
		err = l.Step()
	}
	for _, j := range l.jobs {
		l.interrupt(j)
	}
	l.sweep()
	return err
}

// interrupt ends a job wherever it is. Of a prompt that has not passed, nothing stays in the cache.
func (l *Loop) interrupt(j *Job) {
	if !j.prompted {
		j.PromptN = 0
		if j.prefill != nil {
			j.PromptN = j.prefill.Progress()
			j.prefill.Abort()
		}
	}
	l.finish(j, StopInterrupt)
}

// Step does one pass: the next chunk of the first prompt that waits, then a decode step of every job that is past its prompt.
func (l *Loop) Step() error {
	if err := l.stepPrompt(); err != nil {
		return err
	}
	err := l.stepDecode()
	l.sweep()
	return err
}

func (l *Loop) stepPrompt() error {
	for _, j := range l.jobs {
		if j.prompted {
			continue
		}
		start := time.Now()
		if j.prefill == nil { // not before its turn: a long prompt holds memory
			j.prefill = l.Model.NewPrefill(l.Cache, j.Seq, j.Prompt, l.Chunk)
		}
		passed := j.prefill.Step()
		if passed {
			if err := l.read(j.prefill.Logits()); err != nil {
				return err
			}
		}
		j.PromptTime += time.Since(start)
		if j.Progress != nil {
			j.Progress(j.prefill.Progress(), j.prefill.Total())
		}
		if passed {
			j.prompted = true
			if j.Prompted != nil {
				j.Prompted()
			}
			return l.choose(j, 0)
		}
		return nil
	}
	return nil
}

func (l *Loop) stepDecode() error {
	start := time.Now()
	l.batch.Reset()
	l.wants = l.wants[:0]
	for _, j := range l.jobs {
		if j.prompted && !j.done {
			l.batch.Step(j.Seq, j.pos, j.next)
			j.pos++
			l.wants = append(l.wants, j)
		}
	}
	if len(l.wants) == 0 {
		return nil
	}
	if err := l.read(l.Model.Forward(l.Cache, &l.batch)); err != nil {
		return err
	}
	took := time.Since(start)
	for i, j := range l.wants {
		j.PredictedN++
		j.PredictedTime += took
		if err := l.choose(j, i); err != nil {
			return err
		}
	}
	return nil
}

// read fetches the rows of logits.
func (l *Loop) read(t backend.Tensor) error {
	n := t.Rows * t.Cols
	if cap(l.logits) < n {
		l.logits = make([]float32, n)
	}
	l.logits = l.logits[:n]
	return l.Backend.Read(l.logits, t)
}

// choose takes the token that follows row i of the logits as the job's next one, and ends the job where that is its end.
func (l *Loop) choose(j *Job, i int) error {
	start := time.Now()
	vocab := l.Model.Vocab
	row := l.logits[i*vocab:][:l.Tokenizer.Vocab()] // a padded vocabulary has rows that no token owns
	id, err := j.Sampler.Sample(row)
	if err != nil {
		return err
	}
	j.Sampler.Accept(id)
	j.SampleTime += time.Since(start)
	j.next = id
	switch {
	case l.Tokenizer.IsEOG(id):
		l.finish(j, StopEOG)
		return nil
	case j.Max == 0:
		l.finish(j, StopLength)
		return nil
	}
	j.Tokens = append(j.Tokens, id)
	if j.text.add(j.stream.Add(id)) {
		l.finish(j, StopText)
		return nil
	}
	switch {
	case j.Max > 0 && len(j.Tokens) >= j.Max:
		l.finish(j, StopLength)
	case j.pos >= l.Ctx:
		l.finish(j, StopContext)
	}
	return nil
}

func (l *Loop) finish(j *Job, reason string) {
	if j.done {
		return
	}
	if reason != StopText {
		j.text.add(j.stream.Flush())
		j.text.flush()
	}
	j.Stop, j.Text, j.done = reason, j.text.String(), true
}

// sweep forgets the jobs that are done.
func (l *Loop) sweep() {
	n := 0
	for _, j := range l.jobs {
		if !j.done {
			l.jobs[n] = j
			n++
		}
	}
	clear(l.jobs[n:])
	l.jobs = l.jobs[:n]
}
