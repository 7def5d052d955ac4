package netio

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"shoal/proto"
)

// swarmLane is the client's side of one lane: it keeps a connection, and knows what is under way on it.
type swarmLane struct {
	lane
	swarm      *Swarm
	index      uint16
	state      atomic.Int32 // a laneState
	inflight   atomic.Int32 // unanswered tasks, for picking
	welcomed   bool         // the gateway knows this lane; the run goroutine's, as are the next two
	begun      uint64       // the clock of the hello by which the lane began
	helloClock uint64       // the clock of the last hello: each has a higher one
	firstTry   chan error   // one slot: how the first try to connect went
	lastPing   int64        // the keeper's

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

	answers []answer // the reader's scratch
}

// laneState says how good a lane is for a new task; higher is better.
type laneState int32

const (
	laneGone       laneState = iota // never welcome yet, away for longer than SwarmConfig.GiveUp, or refused for good
	laneConnecting                  // tasks wait for the connection
	laneDraining                    // the gateway is about to stop
	laneUp
)

// slot is one unanswered task.
type slot struct {
	sink    sink // nil: nobody waits for the answer any more
	used    bool
	index   int // of the task, for its sink
	request request
	body    []byte
	sent    int64 // when it was handed over
	policy  RestartPolicy
	parked  bool // a draining gateway has refused it: it waits for the next one
}

// request is what tasks have in common.
type request struct {
	name     string
	deadline uint64 // in milliseconds of our clock; 0: none
}

// outgoing is a task on its way to a lane.
type outgoing struct {
	sink   sink
	index  int
	body   []byte
	policy RestartPolicy
}

// answer is a task's result on its way to who waits for it.
type answer struct {
	sink    sink
	index   int
	name    string
	status  Status
	body    []byte // the lane's, during the call
	task    []byte // what was sent
	elapsed time.Duration
}

// sink takes the results of its tasks, those of one frame together. It is called by the lane's reader, without locks,
// and must not block; the answers and their bodies are valid only during the call.
type sink interface{ deliver(answers []answer) }

// clockMillis is the client's clock of the protocol.
func clockMillis() uint64 { return uint64(monotonic() / int64(time.Millisecond)) }

// submit puts tasks into the outbox; all in one frame if they are several. False means that there is no room now. With
// here, the caller itself writes them if nobody else does: it waits for the answer anyway.
func (l *swarmLane) submit(r request, tasks []outgoing, here bool) (id uint32, ok bool, err error) {
	l.mu.Lock()
	id, ok, err = l.enqueue(r, tasks)
	mine := ok && here && l.claimFlush()
	if ok && !here {
		l.startFlush()
	}
	l.mu.Unlock()
	if mine {
		runtime.Gosched() // callers that are ready to run put their tasks into the same write
		l.flushHere()
	}
	return id, ok, err
}

// enqueue is submit without the flush. The caller holds mu.
func (l *swarmLane) enqueue(r request, tasks []outgoing) (id uint32, ok bool, err error) {
	now := monotonic()
	if l.closed {
		return 0, false, fmt.Errorf("swarm to %s: %w", l.swarm.url, ErrClosed)
	}
	for i := range tasks {
		if size := len(tasks[i].body); l.tooLarge(r, size) {
			return 0, false, fmt.Errorf("%s: task of %d bytes: %w of %d bytes", r.name, size, ErrTooLarge, min(int64(l.out.limit), l.windowBytes))
		}
	}
	if !l.roomFor(tasks) {
		return 0, false, nil
	}
	if len(tasks) > 1 {
		l.out.closeFrame()
	}
	for i := range tasks {
		id = l.put(slot{sink: tasks[i].sink, used: true, index: tasks[i].index, request: r, body: tasks[i].body, sent: now, policy: tasks[i].policy})
	}
	if len(tasks) > 1 {
		l.out.closeOnTake()
	}
	l.grown()
	return id, true, nil
}

// put gives a task a slot and appends it to the outbox. The caller holds mu and has checked the room.
func (l *swarmLane) put(s slot) uint32 {
	id := uint32(len(l.slots))
	if n := len(l.free); n > 0 {
		id = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		l.slots = append(l.slots, slot{})
	}
	l.slots[id] = s
	l.inflight.Add(1)
	l.bodies += int64(len(s.body))
	if s.request.deadline != 0 {
		l.deadlines++
	}
	b := l.out.entry(proto.KindTasks, openKey(s.request), proto.TaskHeaderSize+len(s.body), maxEntries)
	b.b = proto.AppendTask(b.b, id, s.body)
	return id
}

// tooLarge reports whether a body of so many bytes is above what the gateway takes. The caller holds mu.
func (l *swarmLane) tooLarge(r request, size int) bool {
	return l.window > 0 && (proto.TasksHeaderSize(r.name)+proto.TaskHeaderSize+size > l.out.limit || int64(size) > l.windowBytes)
}

// roomFor reports whether the window and the outbox have room. The caller holds mu.
func (l *swarmLane) roomFor(tasks []outgoing) bool {
	size := int64(0)
	for i := range tasks {
		size += int64(len(tasks[i].body))
	}
	if l.window == 0 { // not welcome yet: a few small ones may wait
		return len(l.slots)-len(l.free)+len(tasks) <= 1024 && l.out.unacknowledged()+int(size) < proto.MinFrameLimit/2
	}
	return l.window-len(l.slots)+len(l.free) >= len(tasks) && l.out.unacknowledged() < l.maxKept &&
		l.bodies+size <= l.windowBytes
}

// hasRoom is roomFor for those who do not hold mu.
func (l *swarmLane) hasRoom(tasks []outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.roomFor(tasks)
}

// take frees a slot and returns what was in it. The caller holds mu.
func (l *swarmLane) take(id uint32) slot {
	s := l.slots[id]
	l.slots[id] = slot{}
	l.free = append(l.free, id)
	l.inflight.Add(-1)
	l.bodies -= int64(len(s.body))
	if s.request.deadline != 0 {
		l.deadlines--
	}
	return s
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
	b := l.out.entry(proto.KindCancel, openKey{}, 4, maxEntries)
	b.b = proto.AppendCancel(b.b, id)
	l.appended()
}

// frame handles a frame of the gateway's.
func (l *swarmLane) frame(f proto.Frame) error {
	switch f.Kind {
	case proto.KindResults:
		return l.results(f.Payload)
	case proto.KindChunks, proto.KindCredit:
		return l.streamFrame(f)
	case proto.KindEnd:
		return l.streamEnded(f.Payload)
	case proto.KindPong:
		l.ponged(f.Payload)
		return nil
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
		return &GoodbyeError{Code: g.Code, Text: g.Text}
	}
	if f.Skippable() {
		return nil
	}
	return fmt.Errorf("%w: kind %#02x is not for a client", proto.ErrMalformed, uint8(f.Kind))
}

// results takes the results of one frame out of their slots, then delivers them.
func (l *swarmLane) results(rest []byte) error {
	now := monotonic()
	l.answers = l.answers[:0]
	var malformed error
	l.mu.Lock()
	for len(rest) > 0 {
		r, next, err := proto.NextResult(rest)
		if err == nil && (int(r.ID) >= len(l.slots) || !l.slots[r.ID].used || l.slots[r.ID].parked) {
			err = fmt.Errorf("%w: result for task id %d, which is not in use", proto.ErrMalformed, r.ID)
		}
		if err != nil {
			malformed = err // what came before it counts
			break
		}
		rest = next
		if r.Status == StatusDraining && l.slots[r.ID].sink != nil && l.swarm.carries() {
			l.slots[r.ID].parked = true
			continue
		}
		if s := l.take(r.ID); s.sink != nil {
			l.answers = append(l.answers, answer{s.sink, s.index, s.request.name, r.Status, r.Body, s.body, time.Duration(now - s.sent)})
		}
	}
	l.mu.Unlock()
	for all := l.answers; len(all) > 0; {
		n := 1
		for n < len(all) && all[n].sink == all[0].sink {
			n++
		}
		all[0].sink.deliver(all[:n])
		all = all[n:]
	}
	clear(l.answers)
	return malformed
}

// burst lets those go on who wait for a slot, and tells a gateway that drains at once what has arrived.
func (l *swarmLane) burst() {
	if l.swarm.waiting.Load() > 0 {
		l.swarm.wakeWaiters()
	}
	if laneState(l.state.Load()) == laneDraining {
		l.mu.Lock()
		l.ackNow = true
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
