package probe

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// The tracker agrees with a map, whatever the order of the answers, and is the same after it has travelled.
func TestTrackerAgainstModel(t *testing.T) {
	for range 20 {
		total := 1 + rand.Uint64N(3*spread)
		from := rand.Uint64N(total)
		tr := newTracker(total, from)
		answered := map[uint64]bool{}
		low := from
		for range 3000 {
			position := low + rand.Uint64N(min(total-low, spread)+1)
			if rand.IntN(3) > 0 {
				position = low
			}
			err := tr.check(position)
			switch {
			case position >= total || position >= low+spread:
				if !errors.Is(err, errBeyond) {
					t.Fatalf("position %d of %d, low %d: %v", position, total, low, err)
				}
				continue
			case answered[position] || position < from:
				if !errors.Is(err, errTwice) {
					t.Fatalf("position %d: %v", position, err)
				}
				continue
			case err != nil:
				t.Fatal(err)
			}
			tr.mark(position)
			answered[position] = true
			for answered[low] {
				low++
			}
			if tr.low != low || tr.count != from+uint64(len(answered)) || tr.complete() != (low == total) {
				t.Fatalf("low %d, want %d; count %d, want %d", tr.low, low, tr.count, from+uint64(len(answered)))
			}
			if tr.complete() {
				break
			}
		}
		again := newTracker(total, tr.low)
		if err := again.restore(tr.beyond()); err != nil {
			t.Fatal(err)
		}
		if again.low != tr.low || again.count != tr.count {
			t.Fatalf("low %d and count %d became %d and %d", tr.low, tr.count, again.low, again.count)
		}
		for p := tr.low; p < min(total, tr.low+spread); p++ {
			if again.has(p) != answered[p] {
				t.Fatalf("position %d: %v after it has travelled", p, again.has(p))
			}
		}
	}
}

// What a peer says of answered positions is checked.
func TestTrackerRefusesNonsense(t *testing.T) {
	if err := newTracker(10, 8).restore([]byte{0b100}); !errors.Is(err, errBeyond) {
		t.Errorf("a position at the end: %v", err)
	}
	if err := newTracker(1<<20, 0).restore(make([]byte, spread/8+1)); !errors.Is(err, errBeyond) {
		t.Errorf("too many bytes: %v", err)
	}
}
