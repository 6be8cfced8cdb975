package tokenizer

import (
	"strings"

	"github.com/sugarme/tokenizer/model/bpe"
)

// maxCached bounds the bytes of a word that is kept in the cache.
const maxCached = 128

// store is sugarme's BPE model, used for what it holds: Vocab (spelling to id), Merges (pair of ids to rank and id) and
// Cache (word to tokens, behind a lock). Its own Tokenize is not used: it takes equal ranks in any order, knows no byte
// tokens and panics on a rune without a token.
type store struct{ *bpe.BPE }

func newStore(v *vocab) store {
	return store{&bpe.BPE{Vocab: &v.ids, Merges: &bpe.Merges{}, Cache: bpe.NewCache(bpe.DefaultCacheCapacity)}}
}

// appendWord appends the tokens of a word: those in the cache, or the symbols that merge leaves.
func (s store) appendWord(dst []int32, word string, m merger) []int32 {
	w, ok := s.Cache.Get(word)
	if !ok {
		w.Symbols = m.merge(word)
		if len(word) <= maxCached {
			s.Cache.SetValues([]bpe.CacheItem{{Key: strings.Clone(word), Value: w}}) // a full cache keeps what it has
		}
	}
	for _, sym := range w.Symbols {
		dst = append(dst, int32(sym.C))
	}
	return dst
}

// merger turns a word into its tokens: C is the token, Len its bytes.
type merger interface {
	merge(word string) []bpe.Symbol
}

// symbol is a part of a word, while it is merged: a list from left to right.
type symbol struct {
	id         int32 // -1: no token
	start, end int32 // bytes of the word; none: the symbol is merged into the one on its left
	prev, next int32 // -1 at the ends
}

// pair is two neighbours that may merge.
type pair struct {
	rank float64 // lower merges first
	left int32   // index of the left symbol
	size int32   // bytes of both; if they have another size by now, this pair is gone
	id   int32   // of the merged symbol
}

// before orders pairs: by rank, of equal ranks the leftmost.
func (p pair) before(q pair) bool {
	return p.rank < q.rank || p.rank == q.rank && p.left < q.left
}

// mergeAll merges the pair of the lowest rank until no two neighbours have a rank, and returns the symbols that are
// left, in order. One pair at a time: a merge may make a pair of lower rank than its own. The heap keeps a long word,
// such as a page of Chinese, at n log n. Rank returns the rank and the merged token of two neighbours, if they have one.
func mergeAll(syms []symbol, rank func(l, r symbol) (rank float64, id int32, ok bool)) []symbol {
	var pairs heap
	consider := func(i int32) {
		l := syms[i]
		r := syms[l.next]
		if rank, id, ok := rank(l, r); ok {
			pairs.push(pair{rank, i, r.end - l.start, id})
		}
	}
	for i := range len(syms) - 1 {
		consider(int32(i))
	}
	for len(pairs) > 0 {
		p := pairs.pop()
		l := &syms[p.left]
		if l.start == l.end || l.next < 0 || syms[l.next].end-l.start != p.size {
			continue
		}
		r := &syms[l.next]
		l.id, l.end, l.next = p.id, r.end, r.next
		r.start = r.end
		if l.next >= 0 {
			syms[l.next].prev = p.left
			consider(p.left)
		}
		if l.prev >= 0 {
			consider(l.prev)
		}
	}
	n := 0
	for i := int32(0); i >= 0; i = syms[i].next {
		syms[n] = syms[i]
		n++
	}
	return syms[:n]
}

// heap is a binary heap of pairs, the first one at 0.
type heap []pair

func (h *heap) push(p pair) {
	*h = append(*h, p)
	s, i := *h, len(*h)-1
	for i > 0 {
		up := (i - 1) / 2
		if !p.before(s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = p
}

func (h *heap) pop() pair {
	s := *h
	first, p := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for {
		down := 2*i + 1
		if down >= len(s) {
			break
		}
		if down+1 < len(s) && s[down+1].before(s[down]) {
			down++
		}
		if !s[down].before(p) {
			break
		}
		s[i] = s[down]
		i = down
	}
	if len(s) > 0 {
		s[i] = p
	}
	return first
}
