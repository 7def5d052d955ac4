package netio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// How a task ends. It has two ends. For the client it ends when its answer is in the outbox (task.answered): with what its
// subroutine made of it or, before that, with its cancel or its deadline. For the gateway it ends when its subroutine has let go of
// it: then its slot of the workers is free, and once that holds for all tasks of a frame their memory is used again. The
// taskState is about the second end. It alone decides who gives the slot back: whoever makes the last step does.

// taskState is where a task is with its subroutine: one of the ends below, whether its function has returned, and a generation.
// Memory of tasks is used again, so a Task that is kept for too long points to a task of somebody else's: its generation is
// another one then.
type taskState struct{ word atomic.Uint64 } // generation << stateBits | insideBit | end

// The ends of a task with its subroutine. The arrows say what comes next.
const (
	// endOpen: nobody has finished it. → claimed, given up
	endOpen = iota
	// endClaimed: one Finish or FinishAfter was called, and goes on. Another one is a mistake. → gathered, waiting, finished
	endClaimed
	// endGathered: it was finished while its BatchFunc runs, which settles it with others when it returns. → waiting, finished
	endGathered
	// endWaiting: FinishAfter was called, and a timer will finish it. A cancel or the deadline cuts that short. → finished
	endWaiting
	// endFinished: its subroutine has let go of it, but for the function that may still run. The end.
	endFinished
	// endGivenUp: its subroutine panicked. What is left of that may finish it, which does nothing. The end.
	endGivenUp

	endBits   = 7
	insideBit = 8 // its TaskFunc or BatchFunc has not returned
	stateBits = 4
)

// begin makes a task one that its function is about to get, and returns the handle for it.
func (t *task) begin() Task {
	generation := t.state.word.Load()>>stateBits + 1
	t.state.word.Store(generation<<stateBits | insideBit) // endOpen
	return Task{t: t, sub: t.b.sub, generation: generation}
}

// returned records that the function has returned, and says where the task is.
func (s *taskState) returned() (end uint64) { return s.word.And(^uint64(insideBit)) & endBits }

// become makes a step on behalf of who has claimed the task, or has taken its timer out. It reports whether the function has yet
// to return. A task that was given up stays so.
func (s *taskState) become(end uint64) (inside bool) {
	for {
		w := s.word.Load()
		if w&endBits == endGivenUp || s.word.CompareAndSwap(w, w&^endBits|end) {
			return w&insideBit != 0
		}
	}
}

// giveUp ends a task whose function has panicked, and so has not returned.
func (s *taskState) giveUp() {
	for {
		if w := s.word.Load(); s.word.CompareAndSwap(w, w&^endBits|endGivenUp) {
			return
		}
	}
}

// step is become from one end to another, where it is at the first. The bit of its function stays.
func (s *taskState) step(from, to uint64) bool {
	for {
		w := s.word.Load()
		if w&endBits != from {
			return false
		}
		if s.word.CompareAndSwap(w, w&^endBits|to) {
			return true
		}
	}
}

// ErrFinished is what a panic carries where a subroutine finishes a task twice: errors.Is finds it.
var ErrFinished = errors.New("task was finished before")

// Task is one call at a gateway, as its subroutine has it, from the call of its TaskFunc until Finish. It may be copied. A Task
// whose call is over stays harmless: Body is nil then, Context has ended, and to finish it again panics.
type Task struct {
	t          *task
	sub        *subroutine
	generation uint64
}

// current reports whether the handle still means its task.
func (k Task) current() bool { return k.t.state.word.Load()>>stateBits == k.generation }

// Body returns what the caller sent; valid until Finish.
func (k Task) Body() []byte {
	if !k.current() {
		return nil
	}
	return k.t.body
}

// Context returns the task's context, as a CallFunc gets it.
func (k Task) Context() context.Context {
	if !k.current() {
		ended := &taskContext{}
		ended.cancel(context.Canceled)
		return ended
	}
	return k.t.context()
}

// context returns the task's context, which is made when it is first asked for.
func (t *task) context() context.Context {
	h := t.b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.ctx == nil {
		t.ctx = &taskContext{handler: h, deadline: t.b.deadline, metadata: t.b.metadata}
		if t.answered.Load() { // not by the subroutine, which still has the task
			cause := context.Canceled
			if t.b.deadline != 0 && monotonic() >= t.b.deadline {
				cause = context.DeadlineExceeded
			}
			t.ctx.cancel(cause)
		}
	}
	return t.ctx
}

// claim makes the caller the one who finishes the task. False means that it was given up. Finishing it twice panics.
func (k Task) claim() bool {
	for {
		w := k.t.state.word.Load()
		switch end := w & endBits; {
		case w>>stateBits != k.generation, end != endOpen && end != endGivenUp:
			panic(fmt.Errorf("%w: subroutine %q finishes one twice", ErrFinished, k.sub.info.Name))
		case end == endGivenUp:
			return false
		case k.t.state.word.CompareAndSwap(w, w&^endBits|endClaimed):
			return true
		}
	}
}

// Finish answers the task and gives up its slot. Result is copied; while a BatchFunc runs that has the task, it is copied
// when that returns. Finish may be called from any goroutine, exactly once: it panics with ErrFinished the second time.
func (k Task) Finish(result []byte, err error) {
	if k.claim() && !k.t.gather(0, result, err) {
		k.t.finish(result, err)
	}
}

// FinishAfter finishes the task after a wait, without a goroutine; a cancel or the deadline cuts it short. It takes
// the place of Finish, and result must not change any more.
func (k Task) FinishAfter(wait time.Duration, result []byte, err error) {
	wait = min(max(wait, 0), longestWait)
	t := k.t
	if !k.claim() || t.gather(wait, result, err) {
		return
	}
	if t.b.hopeless(monotonic(), int64(wait)) {
		t.finish(nil, &StatusError{Status: StatusTimeout})
		return
	}
	t.result, t.err = result, err
	h := t.b.h
	h.mu.Lock() // so that whoever answers the task early either sees the timer or is seen here
	if answered := t.answered.Load(); !answered {
		t.state.become(endWaiting)
		h.timers.add(&t.timer, monotonic()+int64(wait), t)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	t.release()
}

// longestWait is what the clock can be added to.
const longestWait = 1 << 61

// gather keeps the end of a claimed task while its BatchFunc runs: when that returns, all of them are settled in one step. False
// means that no BatchFunc runs, or not any more.
func (t *task) gather(wait time.Duration, result []byte, err error) bool {
	w := t.state.word.Load()
	if t.b.sub.batch == nil || t.hook != nil || w&insideBit == 0 {
		return false
	}
	t.wait, t.result, t.err = wait, result, err
	return t.state.word.CompareAndSwap(w, w&^endBits|endGathered)
}

// finish ends a claimed task.
func (t *task) finish(result []byte, err error) {
	if hook := t.hook; hook != nil {
		t.state.become(endFinished)
		hook <- outcome{append([]byte{}, result...), err}
		return
	}
	t.answer(result, err, true) // at once: the TaskFunc may go on for as long as it likes
	t.ctx.cancel(context.Canceled)
	t.letGo()
}

// expire ends the wait of FinishAfter.
func (t *task) expire() {
	if t.state.step(endWaiting, endClaimed) {
		t.finish(t.result, t.err)
	}
}

// release lets go of a task that was answered early, and that nobody else finishes: its timer was taken out, or never set.
func (t *task) release() {
	if hook := t.hook; hook != nil {
		t.state.become(endFinished)
		hook <- outcome{err: context.Canceled}
		return
	}
	t.letGo()
}

// letGo gives up the slot, now or when the function returns. The task may be somebody else's after it.
func (t *task) letGo() {
	b := t.b
	if t.state.become(endFinished) {
		return
	}
	p := b.h.gateway.pool
	b.over()
	p.Release()
}

// forget makes the memory of a task that is over ready for another one. The generation stays.
func (t *task) forget() {
	t.b, t.id, t.size, t.body, t.timer, t.wait, t.result, t.err, t.ctx, t.hook = nil, 0, 0, nil, timerNode{}, 0, nil, nil, nil, nil
	t.answered.Store(false)
}
