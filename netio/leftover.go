package netio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
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

// remove takes back one that was added.
func (t *tally) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[name]--; t.counts[name] == 0 {
		delete(t.counts, name)
	}
}

// empty reports whether everything that was added has been taken back.
func (t *tally) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.counts) == 0
}

// names is a list such as "sleep, table".
func (t *tally) names() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(t.counts)), ", ")
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

// unfinishedBatch is a batch with tasks that were not answered when the gateway stopped.
type unfinishedBatch struct {
	*batch
	name string
}

// unfinished returns the batches whose tasks the end of the handlers cuts off. What it returns is not used again for others,
// so that it can be looked at later.
func unfinished(handlers []*handler) []unfinishedBatch {
	var list []unfinishedBatch
	seen := map[*batch]bool{}
	for _, h := range handlers {
		h.mu.Lock()
		for _, t := range h.slots {
			// Until a task is answered its batch is not over, so it is not too late to keep it.
			if t != nil && t.b.sub != nil && !seen[t.b] {
				seen[t.b] = true
				t.b.keep.Store(true)
				list = append(list, unfinishedBatch{t.b, t.b.sub.info.Name})
			}
		}
		h.mu.Unlock()
	}
	return list
}

// returnTime is how long the subroutines have to return once their contexts have ended.
const returnTime = time.Second

// waitReturned gives the subroutines time to return, and says which have not.
func (g *Gateway) waitReturned(cutOff []unfinishedBatch) error {
	ctx, cancel := context.WithTimeout(context.Background(), returnTime)
	defer cancel()
	err := g.pool.Close(ctx)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !g.streaming.empty() && ctx.Err() == nil {
		<-tick.C
	}
	if err == nil && g.streaming.empty() {
		return nil
	}
	return g.leftBehind(cutOff)
}

// leftBehind says which subroutines have not returned though the gateway has stopped. Of those whose tasks it cut off that is
// known. For a task that was answered before, by its deadline or a cancel, it names all subroutines to which that ever
// happened.
func (g *Gateway) leftBehind(cutOff []unfinishedBatch) error {
	var tasks tally
	known := 0
	s := g.pool.Stats()
	for _, b := range cutOff {
		for range b.left.Load() {
			if s.Queued == 0 { // else those that never began are among them
				tasks.add(b.name)
				known++
			}
		}
	}
	var parts []string
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d tasks that were cut off: %s", known, tasks.String()))
	}
	if before := s.Running + s.Held - known; before > 0 {
		parts = append(parts, fmt.Sprintf("%d tasks of these, answered before their end: %s", before, g.early.names()))
	}
	if streams := g.streaming.String(); streams != "" {
		parts = append(parts, "streams: "+streams)
	}
	if len(parts) == 0 { // the last has just returned
		return nil
	}
	return fmt.Errorf("%w: %s", ErrStillRunning, strings.Join(parts, "; "))
}
