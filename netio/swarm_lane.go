package netio

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// swarmLane is the client's side of one lane: it keeps a connection, and knows what is under way on it.
type swarmLane struct {
	lane
	swarm      *Swarm
	index      uint16
	state      atomic.Int32    // a laneState
	inflight   atomic.Int32    // unanswered tasks, for picking
	welcomed   bool            // the gateway knows this lane; the run goroutine's, as are the next four
	begun      uint64          // the clock of the hello by which the lane began
	key        []byte          // of the lane, since that hello
	helloClock uint64          // the clock of the last hello: each has a higher one
	failed     int             // tries since the last welcome
	firstTry   chan error      // one slot: how the first try to connect went
	lastPing   int64           // the keeper's
	lastState  ConnectionState // the run goroutine's: what was told last
	holders    atomic.Int32    // Maps that keep its acks back: see backlog; written under lane.mu

	// Guarded by lane.mu.
	slots         []slot
	free          []uint32 // ids of slots that are not in use
	window        int
	windowBytes   int64
	bodies        int64
	deadlines     int // slots with a deadline
	nextStream    uint32
	maxStreams    uint32
	freeStreams   []uint32
	initialCredit int
	heartbeats    time.Duration
	pings         map[uint64]chan error
	nextPing      uint64
	untold        int  // answers since an acknowledgement was asked for
	goodbyeRead   bool // the gateway has ended the connection after our goodbye

	// The reader's.
	settled []sink // scratch
}

// laneState says how good a lane is for a new task; higher is better.
type laneState int32

const (
	laneGone       laneState = iota // never welcome yet, away for longer than SwarmConfig.GiveUp, or refused for good
	laneConnecting                  // tasks wait for the connection
	laneDraining                    // the gateway is about to stop
	laneUp
)

// slot is one unanswered task. One processor writes it and another one reads it back, so it is no larger than a cache line.
type slot struct {
	sink    sink     // nil: nobody waits for the answer any more
	request *request // nil: the slot is not in use
	body    []byte
	index   int   // of the task, for its sink
	sent    int64 // when it was handed over, negative while it is parked
}

// parked reports whether a draining gateway has refused the task: it waits for the next one.
func (s *slot) parked() bool { return s.sent < 0 }

// park begins or ends that.
func (s *slot) park() { s.sent = -s.sent }

// elapsed returns how long ago the task was handed over.
func (s *slot) elapsed(now int64) time.Duration { return time.Duration(now - max(s.sent, -s.sent)) }

// request is what tasks have in common. It does not change any more.
type request struct {
	name     string
	deadline uint64 // in milliseconds of our clock; 0: none
	keyed    bool   // the fields are one task's: it has a frame of its own
	fields   string // of its frames, as fieldsOf gives them
	policy   RestartPolicy
	// cancelled is set in a copy: the gateway was told to cancel the tasks, and its successor is not to have them.
	cancelled bool
}

// nobody is what the tasks have in common whose answers nobody waits for any more.
var nobody request

// outgoing is a task on its way to a lane.
type outgoing struct {
	index int
	body  []byte
}

// sink takes the ends of the tasks of one caller on one lane.
type sink interface {
	// settle takes the end of one task. It is called with the lane's mu held: it must not block, and not touch a lane. Slot
	// and body are valid only during the call; what follows in the same frame has about so many bytes. RetryAfter is how long a
	// task that is busy had better wait; 0: nothing is said.
	settle(s *slot, status Status, body []byte, now int64, following int, retryAfter time.Duration)
	// settled is called after one settle or several, without mu, by who called them.
	settled(l *swarmLane)
}

// sender is where tasks come from: it has a sink for each lane.
type sender interface{ sinkFor(l *swarmLane) sink }

// clockMillis is the client's clock of the protocol.
func clockMillis() uint64 { return uint64(monotonic() / int64(time.Millisecond)) }

// submit puts the first n of the tasks into the outbox, at most so many, as there is room for; n may be 0 without an
// error. Id is that of the last. Like all that a call goes through before it waits, it has a small frame: a goroutine made
// for one call should do with the stack that it begins with.
func (l *swarmLane) submit(h *handing, most int) (n int, id uint32, err error) {
	l.mu.Lock()
	n, id, err = l.enqueue(h, most)
	mine := n > 0 && h.here && l.claimFlush()
	if n > 0 && !h.here {
		l.startFlush()
	}
	l.mu.Unlock()
	if mine {
		if n == 1 {
			runtime.Gosched() // callers that are ready to run put their tasks into the same write
		}
		l.flushHere()
	}
	return n, id, err
}

// enqueue is submit without the flush. The caller holds mu.
func (l *swarmLane) enqueue(h *handing, most int) (n int, id uint32, err error) {
	if l.closed {
		return 0, 0, l.errClosed()
	}
	if n, err = l.fitting(h, h.tasks[:most]); n == 0 {
		return 0, 0, err
	}
	now, who := monotonic(), h.from.sinkFor(l)
	for rest := h.tasks[:n]; len(rest) > 0; {
		frame := rest
		if h.together > 1 {
			frame = rest[:min(h.together, len(rest))]
			l.openFrame(h.request, frame)
		}
		id = l.putAll(h.request, who, frame, now)
		rest = rest[len(frame):]
	}
	if h.together > 1 {
		l.out.Seal()
	}
	l.inflight.Add(int32(n))
	l.grown()
	return n, id, nil
}

// openFrame begins a frame of its own for tasks, in a buffer that has room for all of them. The caller holds mu.
func (l *swarmLane) openFrame(r *request, tasks []outgoing) {
	size := proto.HeaderSize + len(r.fields) + proto.TasksHeaderSize(r.name)
	for i := range tasks {
		size += proto.TaskHeaderSize + len(tasks[i].body)
	}
	l.out.CloseFrame()
	l.out.Reserve(min(size, l.out.Limit()))
}

// putAll gives tasks their slots and appends them to the outbox; the id is that of the last. The caller holds mu, has
// checked the room, and counts the tasks as in flight.
func (l *swarmLane) putAll(r *request, who sink, tasks []outgoing, now int64) (id uint32) {
	var b *session.Buffer
	key := session.FrameKey{Name: r.name, Deadline: r.deadline, Fields: r.fields}
	for i := range tasks {
		t := &tasks[i]
		if r.keyed {
			l.out.CloseFrame()
		}
		id = l.assign(slot{sink: who, request: r, body: t.body, index: t.index, sent: now})
		if size := proto.TaskHeaderSize + len(t.body); b == nil || !l.out.More(b, size) {
			b = l.out.Entry(proto.KindTasks, key, size, session.NoLimit)
		}
		b.B = proto.AppendTask(b.B, id, t.body)
	}
	return id
}

// assign gives a task a slot. The caller holds mu.
func (l *swarmLane) assign(s slot) (id uint32) {
	if n := len(l.free); n > 0 {
		id = l.free[n-1]
		l.free = l.free[:n-1]
		l.slots[id] = s
	} else {
		id = uint32(len(l.slots))
		l.slots = append(l.slots, s)
	}
	l.bodies += int64(len(s.body))
	if s.request.deadline != 0 {
		l.deadlines++
	}
	return id
}

// tooLarge reports whether a body of so many bytes is above what the gateway takes. The caller holds mu.
func (l *swarmLane) tooLarge(r *request, size int) bool {
	return l.window > 0 && (len(r.fields)+proto.TasksHeaderSize(r.name)+proto.TaskHeaderSize+size > l.out.Limit() || int64(size) > l.windowBytes)
}

func (l *swarmLane) errTooLarge(r *request, size int) error {
	return fmt.Errorf("%s: task of %d bytes: %w of %d bytes", r.name, size, ErrTooLarge, min(int64(l.out.Limit()), l.windowBytes))
}

func (l *swarmLane) errClosed() error {
	return fmt.Errorf("swarm to %s: %w", l.swarm.url, ErrClosed)
}

// mostBytesTogether bounds the bodies that enter the outbox in one step.
const mostBytesTogether = 256 << 10

// fitting returns how many of the first tasks there is room for: whole frames of together tasks, or what there is if that
// is less than one, since whoever else takes slots may never leave so many. The error is that the first task is too large for ever. The caller holds mu.
func (l *swarmLane) fitting(h *handing, tasks []outgoing) (n int, err error) {
	used := len(l.slots) - len(l.free)
	window, bytes, outbox := l.window, l.windowBytes, l.maxKept
	if window == 0 { // not welcome yet: a few small ones may wait
		window, bytes, outbox = 1024, proto.MinFrameLimit/2, proto.MinFrameLimit/2
	}
	if l.out.Unacknowledged() >= outbox {
		return 0, nil
	}
	size, full := int64(0), false
	for ; n < len(tasks); n++ {
		body := len(tasks[n].body)
		if l.tooLarge(h.request, body) {
			if n == 0 {
				err = l.errTooLarge(h.request, body)
			}
			return n, err
		}
		if full = used+n >= window || l.bodies+size+int64(body) > bytes; full {
			break
		}
		if size += int64(body); n > 0 && n%h.together == 0 && size > mostBytesTogether {
			break
		}
	}
	if whole := n - n%h.together; full && whole > 0 {
		n = whole
	}
	return n, nil
}

// hasRoom reports whether a task like the first of these may be handed over.
func (l *swarmLane) hasRoom(h *handing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.fitting(h, h.tasks)
	return n > 0 || err != nil
}

// release frees a slot. The caller holds mu, and counts the task as no more in flight.
func (l *swarmLane) release(id uint32) {
	s := &l.slots[id]
	l.bodies -= int64(len(s.body))
	if s.request.deadline != 0 {
		l.deadlines--
	}
	*s = slot{}
	l.free = append(l.free, id)
}

// abandon ends the wait for a task on behalf of its caller, and cancels it at the gateway. False means that its result
// is being delivered.
func (l *swarmLane) abandon(id uint32, who sink, index int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(id) >= len(l.slots) || l.slots[id].sink != who || l.slots[id].index != index {
		moved := slices.IndexFunc(l.slots, func(s slot) bool { return s.sink == who && s.index == index })
		if moved < 0 {
			return false
		}
		id = uint32(moved) // a restart gave it another slot
	}
	l.dismiss(id)
	return true
}

func (l *swarmLane) cancelSlot(id uint32) {
	b := l.out.Entry(proto.KindCancel, session.FrameKey{}, 4, session.NoLimit)
	b.B = proto.AppendCancel(b.B, id)
	l.appended()
}

// receive handles the whole frames at the start of src, which have come by k: swarmLane is a receiver.
func (l *swarmLane) receive(k *link, src []byte) (consumed, need int, err error) {
	consumed, need, err = l.each(k, src, l)
	l.afterBurst()
	l.acknowledgeRead()
	return consumed, need, err
}

// frame handles a frame of the gateway's.
func (l *swarmLane) frame(f *proto.Frame) error {
	if done, err := l.controlFrame(f); done {
		return err
	}
	fields, payload, unknown, err := proto.CutFields(*f)
	if err == nil && unknown != 0 && (f.Kind == proto.KindResults || f.Kind == proto.KindEnd) {
		err = fmt.Errorf("%w: field %#x is not known here", proto.ErrMalformed, unknown)
	}
	if err != nil {
		return err
	}
	f.Payload = payload
	switch f.Kind {
	case proto.KindResults:
		return l.results(f.Payload, fields.RetryAfter())
	case proto.KindChunks, proto.KindCredit:
		return l.streamFrame(f)
	case proto.KindEnd:
		return l.streamEnded(f.Payload, fields.RetryAfter())
	case proto.KindPong:
		l.ponged(f.Payload)
		return proto.ParsePing(f.Payload)
	case proto.KindDrain:
		if _, err := proto.ParseDrain(f.Payload); err != nil {
			return err
		}
		l.state.CompareAndSwap(int32(laneUp), int32(laneDraining))
		l.swarm.log.Info("gateway drains", "url", l.swarm.url, "lane", l.index)
		return nil
	case proto.KindGoodbye:
		g, err := proto.ParseGoodbye(f.Payload)
		if err != nil {
			return err
		}
		return heard(g)
	}
	if f.Skippable() && f.Kind != proto.KindWelcome {
		return nil
	}
	return fmt.Errorf("%w: kind %#02x is not for a client", proto.ErrMalformed, uint8(f.Kind))
}

// tellAnswers is after how many answers a client acknowledges though they have few bytes: compressed ones may. A gateway counts
// what a client has not acknowledged in answers (handler.refusals).
const tellAnswers = 2048

// results takes the results of one frame. RetryAfter goes with those that are busy; 0: nothing is said.
func (l *swarmLane) results(rest []byte, retryAfter time.Duration) error {
	now := monotonic()
	var malformed error
	var last sink
	over := int32(0)
	l.mu.Lock()
	for len(rest) > 0 {
		r, next, err := proto.NextResult(rest)
		if err == nil && (int(r.ID) >= len(l.slots) || l.slots[r.ID].request == nil || l.slots[r.ID].parked()) {
			err = fmt.Errorf("%w: result for task id %d, which is not in use", proto.ErrMalformed, r.ID)
		}
		if err != nil {
			malformed = err // what came before it counts
			break
		}
		rest = next
		s := &l.slots[r.ID]
		if r.Status == StatusDraining && s.sink != nil && !s.request.cancelled && l.swarm.carries() {
			s.park()
			continue
		}
		if s.sink != nil {
			if s.sink != last {
				last = s.sink
				l.settled = append(l.settled, last)
			}
			last.settle(s, r.Status, r.Body, now, len(rest), retryAfter)
		}
		l.release(r.ID)
		over++
	}
	l.inflight.Add(-over)
	if l.untold += int(over); l.untold >= tellAnswers && l.holders.Load() == 0 {
		l.untold = 0
		l.out.AckNow()
		l.startFlush()
	}
	l.mu.Unlock()
	for _, s := range l.settled {
		s.settled(l)
	}
	clear(l.settled)
	l.settled = l.settled[:0]
	return malformed
}

// afterBurst lets those go on who wait for a slot, and tells a gateway that drains at once what has arrived.
func (l *swarmLane) afterBurst() {
	if l.swarm.waiting.Load() > 0 {
		l.swarm.wakeWaiters()
	}
	draining := laneState(l.state.Load()) == laneDraining
	if l.holders.Load() > 0 {
		l.keepAcksBack(!draining)
	}
	if draining {
		l.mu.Lock()
		l.out.AckNow()
		l.startFlush()
		l.mu.Unlock()
	}
}

// space has nothing to do when the outbox fills: submit looks itself.
func (l *swarmLane) space(free bool) {
	if free && l.swarm.waiting.Load() > 0 {
		go l.swarm.wakeWaiters() // not under mu
	}
}

// detached has nothing to do: what lets go of a link at a client waits for it.
func (l *swarmLane) detached(*link) {}
