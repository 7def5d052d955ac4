package netio

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio/internal/session"
	"shoal/pool"
	"shoal/proto"
)

// batch is the tasks of one frame at a gateway, from its arrival until the last of them is over. It is what enters the
// pool: one step, many tasks. Batches are used again, so that a task costs no allocation.
type batch struct {
	h        *handler
	sub      *subroutine
	frame    *session.Buffer // the one copy of the frame; the tasks' bodies are slices of it
	tasks    []Task
	contexts []taskContext // one for each task, where the subroutine takes contexts

	once     *onceEntry // of its one task, where that has an idempotency key and is to run; nil: there is none
	metadata string     // what came with the frame: the value of its field; empty: nothing
	deadline int64      // as monotonic has it; 0: none
	arrived  int64      // the same; only where there is a deadline
	timer    timerNode  // of the deadline
	left     atomic.Int32
	long     int         // which of batches it goes back to
	keep     atomic.Bool // somebody may still hold a task: the garbage collector gets the batch
}

// Task is one call at a gateway. It belongs to the subroutine from the call of its TaskFunc until Finish.
type Task struct {
	b        *batch
	id       uint32
	size     uint32 // of the body as it came, which interceptors may replace
	body     []byte
	answered bool        // its result is in the outbox; guarded by the handler's mu
	early    atomic.Bool // it was answered before its subroutine was done with it
	state    atomic.Uint32
	timer    timerNode     // of FinishAfter
	wait     time.Duration // with result and err: how a task ends that its subroutine does not finish itself
	result   []byte
	err      error
	ctx      *taskContext
	hook     chan outcome // where interceptors wait for the task; nil: there are none
}

// outcome is what a task that interceptors watch was finished with.
type outcome struct {
	result []byte
	err    error
}

// The states of a task: where it is in its subroutine.
const (
	taskRunning  = iota // not begun, or its TaskFunc or BatchFunc has not returned
	taskFinished        // Finish was called
	taskHeld            // its TaskFunc or BatchFunc has returned without it
	taskGathered        // Finish or FinishAfter was called; its BatchFunc has not returned
)

// keptTasks is the largest batch whose memory is used again: more than the small tasks of a frame that fills its buffer.
const keptTasks = 4096

// batches are those to use again: of short frames and of long ones, so that the short do not hold the memory of the long.
var batches = [2]sync.Pool{{New: func() any { return new(batch) }}, {New: func() any { return &batch{long: 1} }}}

// longFrame is how many bytes of tasks make a frame long.
const longFrame = 4 << 10

// Body returns what the caller sent; valid until Finish.
func (t *Task) Body() []byte { return t.body }

// Context returns the task's context, as a CallFunc gets it.
func (t *Task) Context() context.Context {
	h := t.b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.ctx == nil {
		t.ctx = &taskContext{handler: h, deadline: t.b.deadline, metadata: t.b.metadata}
		if t.answered { // not by the subroutine, which still has the task
			cause := context.Canceled
			if t.b.deadline != 0 && monotonic() >= t.b.deadline {
				cause = context.DeadlineExceeded
			}
			t.ctx.cancel(cause)
		}
	}
	return t.ctx
}

// Finish answers the task and gives up its slot. Result is copied; while a BatchFunc runs that has the task, it is copied
// when that returns. Finish may be called from any goroutine, exactly once; the task must not be used any more.
func (t *Task) Finish(result []byte, err error) {
	if t.hook != nil {
		t.hook <- outcome{append([]byte{}, result...), err}
		return
	}
	if t.gather(0, result, err) {
		return
	}
	t.answer(result, err, true) // at once: the TaskFunc may go on for as long as it likes
	t.ctx.cancel(context.Canceled)
	t.finished()
}

// FinishAfter finishes the task after a wait, without a goroutine; a cancel or the deadline cuts it short. It takes
// the place of Finish, and result must not change any more.
func (t *Task) FinishAfter(wait time.Duration, result []byte, err error) {
	wait = min(max(wait, 0), longestWait)
	if t.hook == nil && t.gather(wait, result, err) {
		return
	}
	if t.b.hopeless(monotonic(), int64(wait)) {
		t.Finish(nil, &StatusError{Status: StatusTimeout})
		return
	}
	t.result, t.err = result, err
	h := t.b.h
	h.mu.Lock() // so that whoever answers the task early either sees the timer or is seen here
	if !t.answered {
		h.timers.add(&t.timer, monotonic()+int64(wait), t)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	t.release()
}

// gather keeps the end of a task while its BatchFunc runs: when that returns, all of them are settled in one step. False
// means that no BatchFunc runs.
func (t *Task) gather(wait time.Duration, result []byte, err error) bool {
	if t.b.sub.batch == nil || t.state.Load() != taskRunning {
		return false
	}
	t.wait, t.result, t.err = wait, result, err
	return t.state.CompareAndSwap(taskRunning, taskGathered)
}

// longestWait is what the clock can be added to.
const longestWait = 1 << 61

// expire ends the wait of FinishAfter.
func (t *Task) expire() { t.Finish(t.result, t.err) }

// release gives up the slot of a task that was answered early, now or when its TaskFunc returns.
func (t *Task) release() {
	if t.hook != nil {
		t.hook <- outcome{err: context.Canceled}
		return
	}
	t.finished()
}

// finished gives up the slot, now or when the TaskFunc returns.
func (t *Task) finished() {
	b := t.b
	if t.state.Swap(taskFinished) != taskHeld {
		return
	}
	p := b.h.gateway.pool
	b.over()
	p.Release()
}

// answer puts the task's result into the outbox, unless it has been answered already; with flush it leaves at once.
func (t *Task) answer(result []byte, err error, flush bool) {
	if err == nil {
		t.b.h.answer(t, StatusOK, result, "", flush)
		return
	}
	status, body, fields := encodeError(err)
	t.b.h.answer(t, status, body, fields, flush)
}

// Len is the number of tasks; it makes batch a pool.Batch, as Run and Panicked do.
func (b *batch) Len() int { return len(b.tasks) }

// Run runs task i on a worker.
func (b *batch) Run(i int) (held bool) {
	if b.Grain() > 1 {
		return b.RunSome(i, 1) == 1
	}
	t := &b.tasks[i]
	var begun int64
	if b.deadline != 0 { // its timer may be late when there is much to do
		begun = monotonic()
		if hopeless := b.hopeless(begun, b.sub.pace.nanos.Load()); hopeless || begun >= b.deadline {
			b.sub.pace.doubt()
			b.h.stop(t, StatusTimeout)
		}
	}
	if t.early.Load() { // cancelled, or past its deadline, before it began
		b.over()
		return false
	}
	if b.h.gateway.draining.Load() { // whoever waits in the queue can run elsewhere
		t.answer(nil, &StatusError{Status: StatusDraining}, true)
		b.over()
		return false
	}
	if b.once != nil && !b.h.gateway.once.begin(b) {
		t.answer(nil, errAskedAgain, true)
		b.over()
		return false
	}
	if b.sub.call != nil || len(b.h.gateway.config.Interceptors) > 0 {
		if b.h.gathered.Load() { // this one may block, and the answers before it are not to wait for it
			b.h.flushTurn()
		}
		result, err := b.h.gateway.runCall(b, i)
		if begun != 0 && err == nil {
			b.sub.pace.took(monotonic() - begun)
		}
		t.answer(result, err, true)
		t.ctx.cancel(context.Canceled)
		b.over()
		return false
	}
	b.sub.task(t)
	if t.state.CompareAndSwap(taskRunning, taskHeld) {
		return true
	}
	b.over()
	return false
}

// batchLimit is how many tasks a BatchFunc gets at most: so many are settled under one lock.
const batchLimit = 32

// Grain makes batch a pool.QuickBatch, with RunSome.
func (b *batch) Grain() int {
	if b.sub.batch == nil || len(b.h.gateway.config.Interceptors) > 0 {
		return 1
	}
	return batchLimit
}

// RunSome runs the n tasks from i on, and settles those that are finished then under one lock. The others are held.
func (b *batch) RunSome(i, n int) (held int) {
	tasks := b.tasks[i : i+n]
	switch {
	case b.h.gateway.draining.Load(): // as in Run
		for k := range tasks {
			tasks[k].gather(0, nil, &StatusError{Status: StatusDraining})
		}
	case b.once != nil && !b.h.gateway.once.begin(b): // as in Run
		tasks[0].gather(0, nil, errAskedAgain)
	default:
		b.sub.batch(tasks)
	}
	now := monotonic()
	late, pressed := b.deadline != 0 && now >= b.deadline, b.hopeless(now, 1<<40)
	h := b.h
	h.mu.Lock()
	for k := range tasks {
		t := &tasks[k]
		switch {
		case t.state.CompareAndSwap(taskRunning, taskHeld):
			held++
			continue
		case t.answered:
		case late:
			h.answerLocked(t, StatusTimeout, nil, "")
		case t.wait > 0 && pressed && now+int64(t.wait) > b.deadline:
			h.answerLocked(t, StatusTimeout, nil, "")
		case t.wait > 0:
			t.state.Store(taskHeld)
			h.timers.add(&t.timer, now+int64(t.wait), t)
			held++
			continue
		case t.err != nil:
			status, body, fields := encodeError(t.err)
			h.answerLocked(t, status, body, fields)
		default:
			h.answerLocked(t, StatusOK, t.result, "")
		}
		t.ctx.cancel(context.Canceled)
	}
	h.gathered.Store(true)
	h.mu.Unlock()
	if held < n {
		b.overMany(n - held)
	}
	return held
}

// Panicked ends task i, whose subroutine panicked. The subroutine may still hold the task, so the batch is not used
// again.
func (b *batch) Panicked(i int, value any, stack []byte) {
	t := &b.tasks[i]
	b.keep.Store(true)
	b.h.panicked(b.sub.info.Name, "task", t.id, value, stack)
	t.state.Store(taskFinished)
	_, body, _ := encodeError(&StatusError{Text: panicText(value)})
	b.h.answer(t, StatusPanicked, body, "", true)
	if t.ctx != nil {
		t.ctx.cancel(context.Canceled)
	}
	b.over()
}

// over counts down the tasks that are answered and have left their subroutine; after the last the batch is free.
func (b *batch) over() { b.overMany(1) }

func (b *batch) overMany(n int) {
	if b.left.Add(-int32(n)) > 0 {
		return
	}
	b.h.held.Add(-int64(len(b.frame.B) + len(b.metadata)))
	b.h.batched.Add(-int64(len(b.tasks)))
	if b.deadline != 0 && !b.h.timers.remove(&b.timer) {
		return // its expire may be under way: the garbage collector gets it
	}
	if b.keep.Load() || cap(b.tasks) > keptTasks {
		return
	}
	b.frame.Free()
	clear(b.tasks)
	*b = batch{tasks: b.tasks[:0], long: b.long}
	batches[b.long].Put(b)
}

// expire ends the tasks whose deadline has passed.
func (b *batch) expire() {
	for i := range b.tasks {
		b.h.stop(&b.tasks[i], StatusTimeout)
	}
}

// taskContext is the context of one task. It makes its channel only when somebody asks for it.
type taskContext struct {
	handler  *handler
	deadline int64
	metadata string // as in batch

	mu   sync.Mutex // guards what follows
	done chan struct{}
	err  error
}

// closedChan is the Done of contexts that ended before anybody asked.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c *taskContext) Deadline() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	return epoch.Add(time.Duration(c.deadline - 1)), true
}

func (c *taskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			c.done = closedChan
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

func (c *taskContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *taskContext) Value(key any) any {
	switch key {
	case peerKey:
		return c.handler.peer()
	case clientKey:
		return c.handler
	case metadataKey:
		return c.metadata
	}
	return nil
}

// cancel ends the context; the first cause stays.
func (c *taskContext) cancel(err error) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		if c.done != nil {
			close(c.done)
		}
	}
}

var _ pool.Batch = (*batch)(nil)

// newBatch copies the tasks of a frame; rest is what follows the header of its payload.
func newBatch(h *handler, fields proto.Fields, rest []byte) (*batch, error) {
	long := 0
	if len(rest) > longFrame {
		long = 1
	}
	b := batches[long].Get().(*batch)
	b.h = h
	b.metadata = string(fields.Get(proto.FieldMetadata))
	b.frame = session.NewBuffer(len(rest))
	b.frame.B = append(b.frame.B, rest...)
	for rest = b.frame.B; len(rest) > 0; {
		var t Task
		var err error
		if t.id, t.body, rest, err = proto.NextTask(rest); err != nil {
			return nil, err
		}
		n := len(b.tasks)
		if window := h.gateway.config.Window; n >= window {
			return nil, fmt.Errorf("%w: more tasks in a frame than the window %d", proto.ErrMalformed, window)
		}
		if n < cap(b.tasks) {
			b.tasks = b.tasks[:n+1]
		} else {
			b.tasks = append(b.tasks, Task{})
		}
		b.tasks[n].b, b.tasks[n].id, b.tasks[n].size, b.tasks[n].body = b, t.id, uint32(len(t.body)), t.body
	}
	b.left.Store(int32(len(b.tasks)))
	h.held.Add(int64(len(b.frame.B) + len(b.metadata)))
	h.batched.Add(int64(len(b.tasks)))
	return b, nil
}
