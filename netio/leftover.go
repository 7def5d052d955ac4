package netio

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrStillRunning is what errors.Is finds in the error of a Shutdown that left subroutines behind which do not return.
var ErrStillRunning = errors.New("subroutines do not return")

// tally counts by the names of subroutines. Useful at zero.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[name]++
}

// String is a list such as "sleep (2), table (1)".
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, t.counts[name]))
	}
	return strings.Join(parts, ", ")
}

// busySummary says what a drain still waits for.
func busySummary(busy []*handler) string {
	var tasks, streams tally
	n, m := 0, 0
	for _, h := range busy {
		h.mu.Lock()
		for _, t := range h.slots {
			if t != nil && t.b.sub != nil {
				tasks.add(t.b.sub.info.Name)
				n++
			}
		}
		for _, s := range h.streams {
			streams.add(s.name)
			m++
		}
		h.mu.Unlock()
	}
	text := fmt.Sprintf("%d tasks and %d streams of %d connections were cut off", n, m, len(busy))
	if n > 0 {
		text += "; tasks of " + tasks.String()
	}
	if m > 0 {
		text += "; streams of " + streams.String()
	}
	return text
}

// leftBehind says which tasks still hold their slots though the gateway has stopped.
func (g *Gateway) leftBehind() error {
	s := g.pool.Stats()
	return fmt.Errorf("%w: %d tasks hold their slots; of those answered before their end: %s", ErrStillRunning,
		s.Running+s.Held, g.early.String())
}
