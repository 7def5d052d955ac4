package netio

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"shoal/pool"
	"shoal/proto"
)

// handler is the gateway's side of one lane: it turns frames into tasks and streams, and keeps the window. It knows
// nothing of sockets. It lives from the first hello of the lane until the client says goodbye, the session stays away
// for too long, or the gateway stops.
type handler struct {
	lane
	gateway  *Gateway
	gathered atomic.Bool // there are answers that wait for flushTurn
	timers   *timers
	queue    *pool.Queue

	// Set by the hello that begins the lane, before its connection is attached.
	session     sessionKey
	resumable   bool
	features    uint32 // compressions that were agreed on
	chunkCredit int    // what the client lets us send on a new stream
	// Set by each hello.
	clock  int64                  // what to add to the client's milliseconds for ours
	remote atomic.Pointer[string] // address of the client; nil: not welcomed yet
	client atomic.Pointer[Peer]   // the client; nil: not welcomed yet

	// Guarded by lane.mu.
	slots      []*task // by id; nil: not in use
	unanswered int
	bodies     int64 // bytes of unanswered tasks
	// Answers given without a worker: those since mark, a lane offset that the client has not acknowledged, and those
	// between the mark before and this one.
	refused, refusedBefore int
	mark                   uint64
	ended                  bool // closed for good: nothing is answered any more
	openRunning            int  // subroutines of streams that have not returned, also of those that were aborted
	// Of streams; they end with the handler. Nil before the first stream.
	ctx    context.Context
	cancel context.CancelCauseFunc

	held    atomic.Int64 // bytes of frames whose tasks the pool has not let go of
	batched atomic.Int64 // tasks in these

	exchange   exchange // of its connections
	detachedAt int64    // when the last connection was lost; guarded by gateway.mu
	away       awayLane // guarded by gateway.mu
	begun      uint64   // the clock of the hello that made it
	key        []byte   // of the lane, which only its client has been told
	helloClock uint64   // the clock of the latest hello; guarded by gateway.mu
}

// receive handles the whole frames at the start of src, which have come by k: handler is a receiver.
func (h *handler) receive(k *link, src []byte) (consumed, need int, err error) {
	consumed, need, err = h.each(k, src, h)
	h.acknowledgeRead()
	return consumed, need, err
}

// frame handles a frame of the client's.
func (h *handler) frame(f *proto.Frame) error {
	if done, err := h.controlFrame(f); done {
		return err
	}
	fields, payload, unknown, err := proto.CutFields(*f)
	if err != nil {
		return err
	}
	f.Payload = payload
	switch f.Kind {
	case proto.KindTasks:
		return h.tasks(f.Payload, fields, unknown)
	case proto.KindCancel:
		return h.cancelTasks(f.Payload)
	case proto.KindOpen:
		return h.openStream(f.Payload, fields, unknown)
	case proto.KindChunks, proto.KindCredit, proto.KindEnd, proto.KindAbort:
		if fields != nil {
			return fmt.Errorf("%w: fields in a frame of kind %#02x from a client", proto.ErrMalformed, uint8(f.Kind))
		}
		return h.streamFrame(f)
	case proto.KindPong:
		return proto.ParsePing(f.Payload)
	case proto.KindGoodbye:
		g, err := proto.ParseGoodbye(f.Payload)
		if err != nil {
			return err
		}
		return heard(g)
	}
	if f.Skippable() && f.Kind != proto.KindHello {
		return nil
	}
	return fmt.Errorf("%w: kind %#02x is not for a gateway", proto.ErrMalformed, uint8(f.Kind))
}

// space holds the work of a client back that does not read its answers, and lets it go on when it does.
func (h *handler) space(free bool) {
	if free {
		h.queue.Resume()
	} else {
		h.queue.Pause()
	}
}

// tasks takes a frame of tasks into the pool. Unknown is the type of a critical field that is not known; 0: there is none.
func (h *handler) tasks(payload []byte, fields proto.Fields, unknown uint16) error {
	deadline, name, rest, err := proto.ParseTasksHeader(payload)
	if err != nil {
		return err
	}
	b, err := newBatch(h, fields, rest)
	if err != nil {
		return err
	}
	if b.deadline = h.localDeadline(deadline); b.deadline != 0 {
		b.arrived = monotonic()
	}
	if len(b.tasks) > 1 && fields.Get(proto.FieldIdempotencyKey) != nil {
		return fmt.Errorf("%w: %d tasks with one idempotency key", proto.ErrMalformed, len(b.tasks))
	}
	b.sub = h.gateway.subroutines.find(name)
	if err := h.admit(b); err != nil {
		return err
	}
	if refusal := h.refusal(b.sub, name, ShapeCall, unknown, h.authorize(b.sub, name, ShapeCall)); refusal != nil {
		return h.refuseAll(b, refusal)
	}
	if h.held.Load() > h.gateway.config.mostFrames() || h.batched.Load() > mostBatched*int64(h.gateway.config.Window) {
		return h.refuseAll(b, h.gateway.busyError(""))
	}
	if key := fields.Get(proto.FieldIdempotencyKey); key != nil && !h.runsOnce(b, key) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.refusals(1)
	}
	if b.sub.batch != nil {
		b.handles = slices.Grow(b.handles[:0], len(b.tasks))[:len(b.tasks)]
	}
	if b.sub.call != nil {
		b.contexts = make([]taskContext, len(b.tasks))
		for i := range b.contexts {
			b.contexts[i].handler, b.contexts[i].deadline, b.contexts[i].metadata = h, b.deadline, b.metadata
		}
		h.mu.Lock() // cancel looks at ctx
		for i := range b.tasks {
			b.tasks[i].ctx = &b.contexts[i]
		}
		h.mu.Unlock()
	}
	if b.deadline != 0 {
		h.timers.add(&b.timer, b.deadline, b)
	}
	if err := h.queue.Submit(b); err != nil {
		return h.refuseAll(b, h.gateway.busyError(""))
	}
	return nil
}

// mostBatched is how many times a window of tasks there may be in frames of which some task is not over: it keeps the memory
// of the others.
const mostBatched = 16

// localDeadline turns a reading of the client's clock into one of monotonic. Both are at most proto.MaxClock milliseconds, a
// hundred years, far below an overflow in nanoseconds.
func (h *handler) localDeadline(deadline uint64) int64 {
	if deadline == 0 {
		return 0
	}
	local := (int64(deadline) + h.clock) * int64(time.Millisecond)
	return max(local, 1)
}

// admit gives the tasks of a batch their slots; a task out of the window ends the connection.
func (h *handler) admit(b *batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	window := h.gateway.config.Window
	for i := range b.tasks {
		t := &b.tasks[i]
		if t.id >= uint32(window) {
			return fmt.Errorf("%w: task id %d, window %d", proto.ErrMalformed, t.id, window)
		}
		if int(t.id) >= len(h.slots) {
			size := min(window, max(4, 2*len(h.slots), int(t.id)+1))
			h.slots = append(h.slots, make([]*task, size-len(h.slots))...)
		}
		if h.slots[t.id] != nil {
			return fmt.Errorf("%w: task id %d is in use", proto.ErrMalformed, t.id)
		}
		h.slots[t.id] = t
		h.bodies += int64(t.size)
	}
	h.unanswered += len(b.tasks)
	h.gateway.counters.tasks.Add(int64(len(b.tasks)))
	if most := h.gateway.config.WindowBytes; h.bodies > most {
		return fmt.Errorf("%w: %d bytes of unanswered tasks, window %d", proto.ErrMalformed, h.bodies, most)
	}
	return nil
}

// refusal says why a subroutine cannot run, nil if it can. Unknown is the type of a critical field that is not known; 0: there
// is none. Forbidden is what authorize has returned.
func (h *handler) refusal(sub *subroutine, name []byte, shape Shape, unknown uint16, forbidden error) error {
	switch {
	case unknown != 0:
		return &StatusError{Status: proto.StatusNotAllowed, Code: proto.CodeBadField, Text: fmt.Sprintf("field %#x is not known here", unknown)}
	case h.gateway.draining.Load():
		return &StatusError{Status: proto.StatusDraining}
	case forbidden != nil:
		return &StatusError{Status: proto.StatusNotAllowed, Text: forbidden.Error()}
	case sub == nil:
		return &StatusError{Status: proto.StatusUnknownSubroutine, Text: string(name)}
	case sub.info.Shape != shape:
		return &StatusError{Code: proto.CodeWrongShape, Text: fmt.Sprintf("%s is a %s, not a %s", name, sub.info.Shape, shape)}
	}
	return nil
}

// refuseAll ends a batch that does not enter the pool.
func (h *handler) refuseAll(b *batch, err error) error {
	n := len(b.tasks)
	for i := range n {
		b.tasks[i].answer(nil, err, true)
		b.over()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusals(n)
}

// cancelTasks ends the tasks of a cancel frame.
func (h *handler) cancelTasks(rest []byte) error {
	for {
		id, next, err := proto.NextCancel(rest)
		if err != nil {
			return err
		}
		h.cancelTask(id)
		if rest = next; len(rest) == 0 {
			return nil
		}
	}
}

// cancelTask ends the task in a slot on the client's behalf; one that is not there has been answered.
func (h *handler) cancelTask(id uint32) {
	h.mu.Lock()
	if int(id) < len(h.slots) && h.slots[id] != nil {
		h.stopLocked(h.slots[id], StatusCanceled) // unlocks
		return
	}
	h.mu.Unlock()
}

// stop answers a task early and tells its subroutine.
func (h *handler) stop(t *task, status Status) {
	h.mu.Lock()
	if t.answered.Load() {
		h.mu.Unlock()
		return
	}
	h.stopLocked(t, status)
}

// stopLocked is stop with mu held; it unlocks. Once the task is answered it is touched only if its timer was taken out, since
// then nobody else finishes it.
func (h *handler) stopLocked(t *task, status Status) {
	if t.b.sub != nil { // else its frame broke the protocol further on
		h.gateway.early.add(t.b.sub.info.Name)
	}
	ctx, waited := t.ctx, h.timers.remove(&t.timer)
	h.answerLocked(t, status, nil, "")
	h.startFlush()
	h.mu.Unlock()
	cause := context.Canceled
	if status == StatusTimeout {
		cause = context.DeadlineExceeded
	}
	ctx.cancel(cause)
	if waited {
		t.release()
	}
}

// end closes the handler for good: its tasks and streams are cancelled, nothing is sent any more. The connection must
// be detached. The gateway has taken it out of its tables.
func (h *handler) end(cause error) {
	h.mu.Lock()
	h.ended = true
	slots := h.slots
	h.mu.Unlock()
	for id := range slots {
		h.endTask(id)
	}
	if h.cancel != nil { // ended: nobody sets it any more
		h.cancel(cause)
	}
	h.endStreams()
	h.queue.Close()
	h.queue.Resume()
	h.mu.Lock()
	h.out.Reset()
	h.slots = nil
	h.mu.Unlock()
}

// endTask cancels the task in a slot, unless somebody else waits for its answer.
func (h *handler) endTask(id int) {
	h.mu.Lock()
	if t := h.slots[id]; t != nil && !h.gateway.once.awaited(t.b) {
		h.stopLocked(t, StatusCanceled) // unlocks
		return
	}
	h.mu.Unlock()
}

// idle reports whether the handler has nothing under way and its client has everything, as far as that can be known.
func (h *handler) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unanswered > 0 || len(h.streams) > 0 {
		return false
	}
	if h.resumable {
		return h.out.Unacknowledged() == 0
	}
	return h.link == nil || h.out.Unsent() == 0 && !h.flushing
}

// askAck makes the client say what has arrived, where only that keeps a drain waiting: a pong follows an ack.
func (h *handler) askAck() {
	h.mu.Lock()
	waiting := h.unanswered == 0 && len(h.streams) == 0 && h.out.Unsent() == 0 && h.out.Unacknowledged() > 0
	h.mu.Unlock()
	if waiting {
		h.control(func(dst []byte) []byte { return proto.AppendFrame(dst, proto.Frame{Kind: proto.KindPing}) })
	}
}
