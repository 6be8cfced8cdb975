package cpu

import "sync"

// slab is memory outside Go's heap: freed when we say so, never scanned, in huge pages where the system has them.
type slab struct {
	data []byte // a whole mapping
}

// newSlab takes n bytes, zeroed and page-aligned. It panics when the system has none left, as make would.
func newSlab(n int) *slab { return &slab{mapMemory(n)} }

func (s *slab) free() {
	unmapMemory(s.data)
	s.data = nil
}

// arena hands out equal pieces of memory and takes them back; whole slabs that nobody uses go back to the system, but for one.
type arena struct {
	mu    sync.Mutex
	size  int // bytes of a piece
	per   int // pieces a slab
	slabs []*arenaSlab
}

type arenaSlab struct {
	slab *slab
	free []int32 // pieces that are not in use, the lowest last
}

// piece is memory from an arena.
type piece struct {
	data []byte
	home *arenaSlab
	n    int32
}

// arenaSlabBytes is about the size of an arena's slab: a few huge pages.
const arenaSlabBytes = 4 << 20

func newArena(size int) *arena {
	return &arena{size: size, per: max(1, arenaSlabBytes/size)}
}

// get takes a piece, its contents undefined.
func (a *arena) get() piece {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.slabs {
		if n := len(s.free); n > 0 {
			i := s.free[n-1]
			s.free = s.free[:n-1]
			return piece{s.slab.data[int(i)*a.size:][:a.size:a.size], s, i}
		}
	}
	s := &arenaSlab{slab: newSlab(a.size * a.per), free: make([]int32, 0, a.per)}
	for i := a.per - 1; i > 0; i-- {
		s.free = append(s.free, int32(i))
	}
	a.slabs = append(a.slabs, s)
	return piece{s.slab.data[:a.size:a.size], s, 0}
}

// put takes a piece back.
func (a *arena) put(p piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.home.free = append(p.home.free, p.n)
	if len(p.home.free) < a.per {
		return
	}
	spare := -1
	for i, s := range a.slabs {
		if s != p.home && len(s.free) == a.per {
			spare = i
		}
	}
	if spare >= 0 { // two slabs lie idle: one is enough
		a.slabs[spare].slab.free()
		a.slabs = append(a.slabs[:spare], a.slabs[spare+1:]...)
	}
}

// bytes is the memory taken from the system.
func (a *arena) bytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.slabs)) * int64(a.size*a.per)
}

// bump hands out memory that is never given back one by one.
type bump struct{ rest []byte }

// bumpBytes is what is taken from the system at once: many huge pages.
const bumpBytes = 32 << 20

// take returns n bytes, zeroed, at a multiple of 64.
func (b *bump) take(n int) []byte {
	size := roundUp(n, 64)
	if size > len(b.rest) {
		b.rest = newSlab(max(size, bumpBytes)).data
	}
	out := b.rest[:n:n]
	b.rest = b.rest[size:]
	return out
}
