package cpu

import (
	"runtime"
	"sync/atomic"
	"time"
)

// job is work in numbered chunks, done in any order by any worker; worker numbers (0 is the caller) choose scratch memory.
type job interface{ do(chunk, worker int) }

// pool is a set of persistent workers. The caller of run is worker 0 and takes chunks like the others, so that a core lost to another program
// costs a chunk, not a wait.
//
// state packs what a chunk is taken from into one word, so that a late worker can never take a chunk of a job that has passed:
//
//	generation (24 bits) | chunks (20 bits) | next chunk (20 bits)
type pool struct {
	threads int
	state   atomic.Uint64
	_       [56]byte
	done    atomic.Int64
	_       [56]byte
	job     job // written before state, read after a chunk was taken
	waiting sleeper
	workers []sleeper // 1 … threads-1
	closed  atomic.Bool
}

const (
	chunkBits = 20
	chunkMask = 1<<chunkBits - 1
	maxChunks = chunkMask
)

// spinTime is how long a thread looks for work before it sleeps: about what a wake-up costs, so a lost core wastes at most that.
const spinTime = 20 * time.Microsecond

func newPool(threads int) *pool {
	p := &pool{threads: threads, workers: make([]sleeper, threads-1)}
	p.waiting.wake = make(chan struct{}, 1)
	for i := range p.workers {
		p.workers[i].wake = make(chan struct{}, 1)
		go p.work(i + 1)
	}
	return p
}

// run does chunks 0 … n-1 of j and returns when all are done. One run at a time.
func (p *pool) run(j job, n int) {
	if n > maxChunks {
		panic("cpu: a job has too many chunks")
	}
	if p.threads == 1 || n <= 1 {
		for i := range n {
			j.do(i, 0)
		}
		return
	}
	p.job = j
	p.done.Store(0)
	generation := p.state.Load()>>(2*chunkBits) + 1
	p.state.Store(generation<<(2*chunkBits) | uint64(n)<<chunkBits)
	for i := range min(len(p.workers), n-1) {
		p.workers[i].rouse()
	}
	for p.take(0) {
	}
	p.waiting.until(func() bool { return p.done.Load() == int64(n) })
	p.job = nil
}

// take does one chunk of the current job if there is one left.
func (p *pool) take(worker int) bool {
	for {
		s := p.state.Load()
		n, next := s>>chunkBits&chunkMask, s&chunkMask
		if next >= n {
			return false
		}
		if p.state.CompareAndSwap(s, s+1) {
			p.job.do(int(next), worker)
			if p.done.Add(1) == int64(n) && worker != 0 {
				p.waiting.rouse()
			}
			return true
		}
	}
}

func (p *pool) work(worker int) {
	idle := func() bool {
		s := p.state.Load()
		return s&chunkMask < s>>chunkBits&chunkMask || p.closed.Load()
	}
	for !p.closed.Load() {
		for p.take(worker) {
		}
		p.workers[worker-1].until(idle)
	}
}

func (p *pool) close() {
	p.closed.Store(true)
	for i := range p.workers {
		p.workers[i].rouse()
	}
}

// sleeper is a thread that waits for a condition that others make true: it spins for spinTime, then sleeps until it is roused.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

// until returns when ready does; whoever makes it true calls rouse afterwards.
func (s *sleeper) until(ready func() bool) {
	for {
		for start, i := time.Now(), 1; ; i++ {
			if ready() {
				return
			}
			pause()
			if i%16 == 0 && time.Since(start) > spinTime {
				break
			}
		}
		s.asleep.Store(true)
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.wake // ready was false after asleep was set, or rouse has taken asleep back: a token comes
	}
}

// rouse wakes the thread if it sleeps.
func (s *sleeper) rouse() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// defaultThreads is the number of physical cores that this process may use.
func defaultThreads() int { return max(1, min(runtime.GOMAXPROCS(0), physicalCores())) }
