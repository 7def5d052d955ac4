package netio

import (
	"testing"
	"time"
)

// What comes soon is found by spinning; what does not is soon no longer looked for, and looked for again now and then.
func TestSpinner(t *testing.T) {
	if !severalProcessors {
		t.Skip("one processor")
	}
	looks, found := 0, true
	look := func() bool { looks++; return found }
	s := &spinner{most: time.Millisecond}
	for range 10 {
		if !s.wait(look) {
			t.Fatal("what is there is not found")
		}
	}
	if looks != 10 {
		t.Errorf("%d looks for what was there each time", looks)
	}
	found = false
	tries := 0
	for range 1000 {
		before := looks
		if s.wait(look) {
			t.Fatal("what is not there is found")
		}
		if looks > before {
			tries++
		}
	}
	if tries == 0 || tries > 20 {
		t.Errorf("%d of 1000 waits in vain were spent spinning", tries)
	}
	found = true
	hits := 0
	for range 1 << (mostMisses + 1) {
		if s.wait(look) {
			hits++
		}
	}
	if hits < 1<<mostMisses {
		t.Errorf("%d hits once it comes soon again", hits)
	}
}

// One spins at a time; nobody does who is told not to; and after many hits the runtime gets its turn.
func TestSpinnerBounds(t *testing.T) {
	if !severalProcessors {
		t.Skip("one processor")
	}
	there := func() bool { return true }
	a, b := &spinner{most: time.Second}, &spinner{most: time.Second}
	if !a.wait(func() bool { return !b.wait(there) }) {
		t.Error("two spin at a time")
	}
	never, hopeless := &spinner{}, &spinner{most: time.Second, worth: func() bool { return false }}
	if never.wait(there) || hopeless.wait(there) || (*spinner)(nil).wait(there) {
		t.Error("it spins for nothing")
	}
	parked := 0
	for range 10 * mostHits {
		if !b.wait(there) {
			parked++
		}
	}
	if parked < 8 || parked > 10 {
		t.Errorf("parked %d times", parked)
	}
	for _, c := range []struct{ in, want time.Duration }{{0, defaultSpin}, {-1, 0}, {time.Second, time.Second}} {
		if got := settleSpin(c.in); got != c.want {
			t.Errorf("%v is settled as %v", c.in, got)
		}
	}
}
