package rollout

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// Outcome is how a start of a task ended.
type Outcome int

const (
	OK     Outcome = iota
	Failed         // another try may mend it
	Final          // no other try can mend it
)

// Action is what Schedule.Step asks for.
type Action struct {
	Kind    Kind
	Task    int           // Start and Drop: as Offer numbered it
	Attempt int           // Start: from 1. Drop: how often the task has started
	Until   time.Duration // Wait: ask again then; 0: when something has happened
}

// Kind is what is to be done.
type Kind int

const (
	Pull     Kind = iota // call Offer with another task, or NoMore; ask again meanwhile when something happens
	Start                // start the task, and call Ended when it has ended
	Drop                 // the task starts no more: it is over
	Wait                 // nothing can be done now
	Finished             // all tasks are over
)

// Schedule decides which task starts when. It has no clock and no goroutine: times are what it is told, since the roll-out
// began, and never go back. Not safe for concurrent use.
type Schedule struct {
	config Config
	pace   pace
	jitter func() float64 // of [0, 1)

	offered   int
	noMore    bool
	open      int    // tasks offered and not over
	running   int    // tasks started and not ended
	failures  uint64 // final ones
	haltAfter uint64
	halted    bool
	cancel    bool // what is under way is not waited for

	wave      int           // of config.Canary; behind them the last
	waveLeft  int           // tasks that the wave may still be offered
	waveBegan time.Duration // when it did, or will after the pause

	tasks   map[int]*waiting    // those that are open
	ready   queue               // may start as far as their target goes
	held    int                 // tasks in queues of targets
	fresh   int                 // tasks that wait and have never started
	targets map[string]*perHost // those with tasks that are ready, running or held
	retries retryHeap
}

// waiting is an open task.
type waiting struct {
	index    int
	target   string
	attempts int // starts
}

// perHost is what goes on at one target.
type perHost struct {
	active int // ready or running
	held   queue
}

// queue is first in, first out.
type queue struct{ tasks []*waiting }

func (q *queue) push(t *waiting) { q.tasks = append(q.tasks, t) }

func (q *queue) pop() *waiting {
	t := q.tasks[0]
	q.tasks[0] = nil
	q.tasks = q.tasks[1:]
	return t
}

// NewSchedule returns the schedule of a roll-out that begins at 0. The configuration has passed Check.
func NewSchedule(c Config) *Schedule {
	c = c.withDefaults()
	s := &Schedule{
		config: c, pace: newPace(c.Rate, c.Delay), jitter: rand.Float64, haltAfter: c.Halt.limit(c.Total),
		tasks: map[int]*waiting{}, targets: map[string]*perHost{},
	}
	s.waveLeft = s.waveSize()
	return s
}

// waveSize is how many tasks the wave has.
func (s *Schedule) waveSize() int {
	if s.wave >= len(s.config.Canary) {
		return math.MaxInt
	}
	share := s.config.Canary[s.wave]
	if share.Percent > 0 {
		return int(min(max(1, share.Of(s.config.Total)), math.MaxInt))
	}
	return int(min(share.Count, math.MaxInt))
}

// Offer adds a task, as Step has asked for one, and returns its number: they count from 0.
func (s *Schedule) Offer(target string) int {
	t := &waiting{index: s.offered, target: target}
	s.offered++
	s.waveLeft--
	s.open++
	s.fresh++
	s.tasks[t.index] = t
	s.queue(t)
	return t.index
}

// NoMore says that there are no more tasks.
func (s *Schedule) NoMore() { s.noMore = true }

// queue makes a task ready, or holds it until its target is free.
func (s *Schedule) queue(t *waiting) {
	if s.config.PerTarget == math.MaxInt {
		s.ready.push(t)
		return
	}
	h := s.targets[t.target]
	if h == nil {
		h = &perHost{}
		s.targets[t.target] = h
	}
	if h.active >= s.config.PerTarget {
		h.held.push(t)
		s.held++
		return
	}
	h.active++
	s.ready.push(t)
}

// free makes room at the target of a task that is neither ready nor running any more.
func (s *Schedule) free(target string) {
	h := s.targets[target]
	if h == nil {
		return
	}
	h.active--
	if len(h.held.tasks) > 0 {
		s.held--
		h.active++
		s.ready.push(h.held.pop())
	}
	if h.active == 0 {
		delete(s.targets, target)
	}
}

// Ended says how a task that was started has ended. It reports whether that is final: otherwise the task starts again, or is
// dropped.
func (s *Schedule) Ended(task int, o Outcome, now time.Duration) (final bool) {
	t := s.tasks[task]
	s.running--
	s.free(t.target)
	if o == Failed && t.attempts <= s.config.Retries && !s.halted {
		heap.Push(&s.retries, retry{now + s.backoff(t.attempts), t})
		return false
	}
	s.over(t, o != OK)
	return true
}

// over counts a task that is final.
func (s *Schedule) over(t *waiting, failed bool) {
	delete(s.tasks, t.index)
	s.open--
	if !failed {
		return
	}
	if s.failures++; s.failures >= s.haltAfter {
		s.Halt(s.config.Halt.Now)
	}
}

// backoff is the pause after so many starts.
func (s *Schedule) backoff(attempts int) time.Duration {
	pause := s.config.Backoff
	for range attempts - 1 {
		if pause >= s.config.MaxBackoff/2 {
			pause = s.config.MaxBackoff
			break
		}
		pause *= 2
	}
	pause = min(pause, s.config.MaxBackoff)
	return pause - time.Duration(s.jitter()*float64(pause/2))
}

// Halt lets nothing start any more. With cancel, Canceled reports true from here on.
func (s *Schedule) Halt(cancel bool) {
	s.halted = true
	s.cancel = s.cancel || cancel
}

// Halted reports whether failures, or a call of Halt, have stopped the roll-out.
func (s *Schedule) Halted() bool { return s.halted }

// Canceled reports whether what is under way is to be cancelled.
func (s *Schedule) Canceled() bool { return s.cancel }

// Failures returns how many tasks have failed for good, those that were dropped included.
func (s *Schedule) Failures() uint64 { return s.failures }

// Step says what is to be done now. It is to be asked again after each action, and when anything has happened.
func (s *Schedule) Step(now time.Duration) Action {
	if s.halted {
		return s.windUp()
	}
	for len(s.retries) > 0 && s.retries[0].at <= now {
		s.queue(heap.Pop(&s.retries).(retry).task)
	}
	if t := s.late(now); t != nil {
		s.over(t, true)
		return Action{Kind: Drop, Task: t.index}
	}
	s.nextWave(now)
	if now < s.waveBegan {
		return Action{Kind: Wait, Until: s.waveBegan}
	}
	free := s.running < s.config.Fanout
	if free && len(s.ready.tasks) > 0 && s.pace.next() <= now {
		t := s.ready.pop()
		if t.attempts == 0 {
			s.fresh--
		}
		t.attempts++
		s.running++
		s.pace.start(now)
		return Action{Kind: Start, Task: t.index, Attempt: t.attempts}
	}
	switch {
	case s.sourceLeft() && (free && len(s.ready.tasks) == 0 && s.held < MaxHeld || s.expired(now)):
		return Action{Kind: Pull, Until: s.until(now, free)}
	case s.open == 0:
		return Action{Kind: Finished}
	}
	return Action{Kind: Wait, Until: s.until(now, free)}
}

// sourceLeft reports whether the wave may be offered more.
func (s *Schedule) sourceLeft() bool { return !s.noMore && s.waveLeft > 0 }

// nextWave goes on when the tasks of a wave are over. After the last task no wave follows, nor a pause.
func (s *Schedule) nextWave(now time.Duration) {
	for s.waveLeft == 0 && s.open == 0 && !s.noMore {
		if s.config.Total > 0 && uint64(s.offered) >= s.config.Total {
			s.noMore = true
			return
		}
		s.wave++
		s.waveLeft = s.waveSize()
		s.waveBegan = now + s.config.Pause
	}
}

// until is when something may be done that cannot be done now; 0: when something has happened.
func (s *Schedule) until(now time.Duration, free bool) time.Duration {
	at := time.Duration(math.MaxInt64)
	if free && len(s.ready.tasks) > 0 {
		at = min(at, s.pace.next())
	}
	if len(s.retries) > 0 {
		at = min(at, s.retries[0].at)
	}
	if s.config.StartWithin > 0 && !s.expired(now) {
		at = min(at, s.waveBegan+s.config.StartWithin)
	}
	if at == math.MaxInt64 {
		return 0
	}
	return at
}

func (s *Schedule) expired(now time.Duration) bool {
	return s.config.StartWithin > 0 && now >= s.waveBegan+s.config.StartWithin
}

// late takes a task out that should have started by now and has never.
func (s *Schedule) late(now time.Duration) *waiting {
	if s.fresh == 0 || !s.expired(now) {
		return nil
	}
	s.fresh--
	for i, t := range s.ready.tasks {
		if t.attempts == 0 {
			s.ready.tasks = append(s.ready.tasks[:i:i], s.ready.tasks[i+1:]...)
			s.free(t.target)
			return t
		}
	}
	for _, h := range s.targets {
		for i, t := range h.held.tasks {
			if t.attempts == 0 {
				h.held.tasks = append(h.held.tasks[:i:i], h.held.tasks[i+1:]...)
				s.held--
				return t
			}
		}
	}
	panic("rollout: a task that waits is neither ready nor held")
}

// windUp drops what waits, and waits for what runs.
func (s *Schedule) windUp() Action {
	switch {
	case len(s.ready.tasks) > 0:
		t := s.ready.pop()
		s.free(t.target)
		return s.drop(t)
	case len(s.retries) > 0:
		return s.drop(heap.Pop(&s.retries).(retry).task)
	case s.held > 0:
		// A target holds tasks only while one of its is ready or running, and none is ready.
		for _, h := range s.targets {
			if len(h.held.tasks) > 0 {
				s.held--
				return s.drop(h.held.pop())
			}
		}
	}
	if s.running > 0 {
		return Action{Kind: Wait}
	}
	return Action{Kind: Finished}
}

func (s *Schedule) drop(t *waiting) Action {
	s.over(t, true)
	return Action{Kind: Drop, Task: t.index, Attempt: t.attempts}
}

// retry is a task that starts again, at a time.
type retry struct {
	at   time.Duration
	task *waiting
}

// retryHeap has the first on top.
type retryHeap []retry

func (h retryHeap) Len() int           { return len(h) }
func (h retryHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h retryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *retryHeap) Push(x any)        { *h = append(*h, x.(retry)) }
func (h *retryHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = retry{}
	*h = (*h)[:len(*h)-1]
	return last
}
