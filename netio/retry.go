package netio

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// retrier sends the tasks of one Map again that ended in a way worth it, each after a pause that doubles. One
// goroutine, which ends with the Map's context, waits for the pauses and hands the tasks out.
type retrier struct {
	m    *mapRun
	wake chan struct{} // one slot: the queue has changed

	mu      sync.Mutex // guards what follows
	queue   retryQueue
	tries   map[int]int // retries so far, by index, of items that had any
	stopped bool
}

// retry is a task that waits to be sent again.
type retry struct {
	at   int64 // as monotonic has it
	task outgoing
	last mapResult // how it ended before
}

const (
	retryPause     = 100 * time.Millisecond // before the first retry
	longRetryPause = 5 * time.Second
)

// worth reports whether a task that ended with err may be run again under the options of its Map.
func (o *MapOptions) worth(err error) bool {
	var te *TaskError
	if !errors.As(err, &te) {
		return errors.Is(err, ErrUnreachable) // it was not handed over
	}
	switch te.Status {
	case StatusTimeout, StatusBusy, StatusDraining:
		return true
	case StatusLost:
		return te.Code == codeNotRun || o.OnRestart == RestartRetry
	case StatusFailed, StatusPanicked:
		return o.RetryFailed
	}
	return false
}

// again takes a task in to be sent once more; false means that how it ended is final.
func (r *retrier) again(t outgoing, last mapResult) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.tries[t.index]
	if r.stopped || n >= r.m.options.Retries || !r.m.options.worth(last.err) || !r.m.swarm.retries.spend() {
		delete(r.tries, t.index)
		return false
	}
	if r.tries == nil {
		r.tries = map[int]int{}
	}
	r.tries[t.index] = n + 1
	pause := min(retryPause<<min(n, 10), longRetryPause)
	pause = pause/2 + rand.N(pause/2+1)
	var te *TaskError
	if errors.As(last.err, &te) {
		pause = afterAsked(pause, te.RetryAfter)
	}
	heap.Push(&r.queue, retry{monotonic() + int64(pause), t, last})
	wake(r.wake)
	return true
}

// maxRetryAfter bounds how long a gateway makes its clients wait.
const maxRetryAfter = time.Minute

// afterAsked returns a pause that is no shorter than what a gateway has asked for, with jitter, so that its clients do not come
// back all at once.
func afterAsked(pause, asked time.Duration) time.Duration {
	if asked = min(asked, maxRetryAfter); asked <= 0 {
		return pause
	}
	return max(pause, asked+rand.N(asked/2+1))
}

// tried returns how often an item was sent again so far.
func (r *retrier) tried(index int) int32 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return int32(r.tries[index])
}

// over forgets an item that is done.
func (r *retrier) over(index int) {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.tries, index)
	}
}

// run is the retrier's goroutine.
func (r *retrier) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.m.ctx.Done():
			r.stop()
			return
		}
		due, pause := r.due()
		if len(due) > 0 {
			r.m.submit(due)
			pause = 0
		}
		if pause >= 0 {
			timer.Reset(pause)
		}
	}
}

// due takes the tasks out whose pause is over, as many as are handed over together; if there are none it says how long until the
// first, negative where none waits.
func (r *retrier) due() (tasks []outgoing, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := monotonic()
	for len(r.queue) > 0 && r.queue[0].at <= now && len(tasks) < mostReady {
		tasks = append(tasks, heap.Pop(&r.queue).(retry).task)
	}
	if len(r.queue) == 0 {
		return tasks, -1
	}
	return tasks, max(0, time.Duration(r.queue[0].at-now))
}

// stop ends what waits with the status that it had.
func (r *retrier) stop() {
	r.mu.Lock()
	r.stopped = true
	queue := r.queue
	r.queue = nil
	r.mu.Unlock()
	for i := range queue {
		r.m.add(queue[i].last)
	}
}

// retryQueue is a heap by time.
type retryQueue []retry

func (q retryQueue) Len() int           { return len(q) }
func (q retryQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q retryQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *retryQueue) Push(x any)        { *q = append(*q, x.(retry)) }
func (q *retryQueue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = retry{}
	*q = (*q)[:len(*q)-1]
	return last
}

// retryBudget keeps the retries of a swarm from finishing a gateway that is sick: in the long run they are at most a
// tenth of the tasks. It is a token bucket as in the retry throttling of gRPC (proposal A6), with the ratio of the
// client budgets in "Site Reliability Engineering" (chapter 21, handling overload). Counted in tenths of a retry.
type retryBudget struct{ used atomic.Int64 }

const (
	retryCost     = 10
	firstRetries  = 100 * retryCost  // may be spent before a task has earned any
	unusedRetries = 1000 * retryCost // more are not saved up
)

// earn counts tasks that are sent for the first time.
func (b *retryBudget) earn(tasks int) {
	for {
		used := b.used.Load()
		if b.used.CompareAndSwap(used, max(used-int64(tasks), firstRetries-unusedRetries)) {
			return
		}
	}
}

// spend takes one retry out of the budget; false means that it is used up.
func (b *retryBudget) spend() bool {
	for {
		used := b.used.Load()
		if used+retryCost > firstRetries {
			return false
		}
		if b.used.CompareAndSwap(used, used+retryCost) {
			return true
		}
	}
}
