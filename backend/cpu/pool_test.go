package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

type countJob struct {
	counts []atomic.Int32
	work   func(worker int)
}

func (j *countJob) do(chunk, worker int) {
	j.counts[chunk].Add(1)
	if j.work != nil {
		j.work(worker)
	}
}

// Every chunk of every job is done exactly once before run returns, whatever workers do: run it with -race.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := newPool(threads)
		for i := range 3000 {
			n := i % 37
			j := &countJob{counts: make([]atomic.Int32, n)}
			if i%500 == 0 {
				time.Sleep(time.Millisecond) // the workers fall asleep
				j.work = func(worker int) {
					if worker == 1 {
						time.Sleep(100 * time.Microsecond) // the caller falls asleep
					}
				}
			}
			p.run(j, n)
			for c := range j.counts {
				if got := j.counts[c].Load(); got != 1 {
					t.Fatalf("%d threads, job %d: chunk %d was done %d times", threads, i, c, got)
				}
			}
		}
		p.close()
	}
}

func TestPoolAllocatesNothing(t *testing.T) {
	p := newPool(2)
	defer p.close()
	j := &countJob{counts: make([]atomic.Int32, 16)}
	if n := testing.AllocsPerRun(1000, func() { p.run(j, 16) }); n > 0 {
		t.Errorf("%g allocations a run, want none", n)
	}
}
