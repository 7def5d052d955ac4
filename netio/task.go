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
	tasks    []task
	handles  []Task        // of these, where a BatchFunc gets them
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

// task is one call at a gateway, from the arrival of its frame until it is over: answered, and let go of by its subroutine.
// task_end.go has how it ends.
type task struct {
	b        *batch
	id       uint32
	size     uint32 // of the body as it came, which interceptors may replace
	body     []byte
	state    taskState
	answered atomic.Bool   // its result is in the outbox; written with the handler's mu held, as the last that is done to it there
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

// keptTasks is the largest batch whose memory is used again: more than the small tasks of a frame that fills its buffer.
const keptTasks = 4096

// batches are those to use again: of short frames and of long ones, so that the short do not hold the memory of the long.
var batches = [2]sync.Pool{{New: func() any { return new(batch) }}, {New: func() any { return &batch{long: 1} }}}

// longFrame is how many bytes of tasks make a frame long.
const longFrame = 4 << 10

// answer puts the task's result into the outbox, unless it has been answered already; with flush it leaves at once.
func (t *task) answer(result []byte, err error, flush bool) {
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
	if t.answered.Load() { // cancelled, or past its deadline, before it began
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
	b.sub.task(t.begin())
	if t.state.returned() != endFinished {
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
	tasks, handles := b.tasks[i:i+n], b.handles[i:i+n]
	for k := range tasks {
		handles[k] = tasks[k].begin()
	}
	switch {
	case b.h.gateway.draining.Load(): // as in Run
		for k := range handles {
			handles[k].Finish(nil, &StatusError{Status: StatusDraining})
		}
	case b.once != nil && !b.h.gateway.once.begin(b): // as in Run
		handles[0].Finish(nil, errAskedAgain)
	default:
		b.sub.batch(handles)
	}
	now := monotonic()
	late, pressed := b.deadline != 0 && now >= b.deadline, b.hopeless(now, 1<<40)
	h := b.h
	h.mu.Lock()
	for k := range tasks {
		t := &tasks[k]
		switch end := t.state.returned(); {
		case end == endFinished:
			continue
		case end != endGathered:
			held++
			continue
		case t.answered.Load():
		case late:
			h.answerLocked(t, StatusTimeout, nil, "")
		case t.wait > 0 && pressed && now+int64(t.wait) > b.deadline:
			h.answerLocked(t, StatusTimeout, nil, "")
		case t.wait > 0:
			t.state.become(endWaiting)
			h.timers.add(&t.timer, now+int64(t.wait), t)
			held++
			continue
		case t.err != nil:
			status, body, fields := encodeError(t.err)
			h.answerLocked(t, status, body, fields)
		default:
			h.answerLocked(t, StatusOK, t.result, "")
		}
		t.state.become(endFinished)
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
	t.state.giveUp()
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
	for i := range b.tasks {
		b.tasks[i].forget()
	}
	clear(b.handles)
	*b = batch{tasks: b.tasks[:0], handles: b.handles[:0], long: b.long}
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
		id, body, next, err := proto.NextTask(rest)
		if err != nil {
			return nil, err
		}
		rest = next
		n := len(b.tasks)
		if window := h.gateway.config.Window; n >= window {
			return nil, fmt.Errorf("%w: more tasks in a frame than the window %d", proto.ErrMalformed, window)
		}
		if n < cap(b.tasks) {
			b.tasks = b.tasks[:n+1]
		} else {
			b.tasks = append(b.tasks, task{})
		}
		t := &b.tasks[n]
		t.b, t.id, t.size, t.body = b, id, uint32(len(body)), body
	}
	b.left.Store(int32(len(b.tasks)))
	h.held.Add(int64(len(b.frame.B) + len(b.metadata)))
	h.batched.Add(int64(len(b.tasks)))
	return b, nil
}
