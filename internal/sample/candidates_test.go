package sample

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortTo: whatever prefix is sorted, and in however many steps, it is that of the whole sort.
func TestSortTo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := 1 + rng.IntN(600)
		row := make([]float32, n)
		for i := range row {
			row[i] = float32(rng.IntN(1 + rng.IntN(50))) // many ties
		}
		var all, some, top candidates
		if err := all.loadAll(row); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all.list, compare)

		if err := some.loadAll(row); err != nil {
			t.Fatal(err)
		}
		for k := 0; k < n; k += 1 + rng.IntN(n) {
			some.sortTo(k)
			if !slices.Equal(some.list[:k], all.list[:k]) {
				t.Fatalf("the best %d of %d differ from those of the whole sort", k, n)
			}
		}

		k := 1 + rng.IntN(n)
		if err := top.loadTop(row, k); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(top.list, all.list[:k]) {
			t.Fatalf("loadTop: the best %d of %d differ from those of the whole sort", k, n)
		}
	}
}

// TestKeepFrom: dropping keeps the order and knows how much of it is left.
func TestKeepFrom(t *testing.T) {
	var c candidates
	if err := c.loadAll([]float32{1, 5, 2, 4, 3, 0}); err != nil {
		t.Fatal(err)
	}
	c.sortTo(2)
	c.keepFrom(3)
	if got := c.list; len(got) != 3 || got[0].id != 1 || got[1].id != 3 || got[2].id != 4 || c.sorted != 2 {
		t.Fatalf("got %v, %d sorted", got, c.sorted)
	}
	c.keepFrom(9)
	if got := c.list; len(got) != 1 || got[0].id != 1 || c.sorted != 1 {
		t.Fatalf("got %v, %d sorted; want the best one", got, c.sorted)
	}
}
