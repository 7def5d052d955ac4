package netio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// lane is one ordered, resumable channel of frames between a swarm and a gateway; both ends use it. It outlives the
// connections that carry it. Its state is that of package session; the lane adds locks, the connection of the moment, and the
// goroutine that writes.
//
// Who may do what: any goroutine appends to the outbox under mu. One goroutine at a time flushes; the first that
// appends to a lane which is not being flushed starts it, and it ends when there is nothing left. What reads the link
// receives; recvMu keeps the reader of a later link out until that of an earlier one is done.
//
// A link comes with attach. It goes with detach, or with part, which says goodbye first. Neither waits: a link that is
// being written is let go of by its flusher, which tells the owner (laneOwner.detached). Until then link is not nil, and no
// other link can be attached.
type lane struct {
	owner laneOwner

	recvMu sync.Mutex      // held while received bytes are handled; taken before mu
	in     session.Inbound // guarded by recvMu

	mu        sync.Mutex // guards what follows
	link      *link      // nil: no connection now
	out       session.Outbox
	flushing  bool
	flushed   sync.Cond // signalled when flushing becomes false
	closed    bool
	maxKept   int                // above so many unacknowledged bytes, new work waits
	streams   map[uint32]*stream // open ones, by id
	windows   session.Windows    // of these
	shared    session.Shared     // credit of all of them together
	creditFor []*stream          // streams that wait for that
	spaceFor  []*stream          // streams that wait for space in the outbox
	full      bool               // the owner was told that the lane is full
	pieces    [][]byte           // the flusher's scratch

	lastRead atomic.Int64 // when bytes last arrived, as monotonic() has it
	lastSent atomic.Int64 // when the last write ended
}

// laneOwner is told by a lane what has become of it: the gateway's handler or the swarm's.
type laneOwner interface {
	// space is called, with mu held, when the lane has become full (false) or has room again (true).
	space(free bool)
	// detached is called, without mu, by a flusher that has let go of k for the caller of detach or part.
	detached(k *link)
}

const (
	mostWrite = 512 << 10 // bytes in one write: control frames get their turn between two
	// mostExpanded is how many bytes an event loop expands of one connection before others get their turn, and at least one
	// frame.
	mostExpanded = 1 << 20
	// streamAhead bounds what streams put before the frames of others: a chunk waits while so much is unsent.
	streamAhead = 256 << 10
)

// init makes a lane ready for use. An ephemeral one cannot be resumed.
func (l *lane) init(owner laneOwner, frameLimit, maxKept int, ephemeral bool) {
	l.owner, l.maxKept = owner, maxKept
	l.in.Init(frameLimit)
	l.out.Init(ephemeral)
	l.flushed.L = &l.mu
}

// attach gives the lane a new connection, whose peer has received so many of our bytes; control goes out first. The old
// connection must be detached. False means that the peer's count is impossible, or that the lane is closed.
func (l *lane) attach(k *link, received uint64, control []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.link != nil || !l.out.Begin(received, l.in.Received(), control) {
		return false
	}
	l.link = k
	now := monotonic()
	l.lastRead.Store(now)
	l.lastSent.Store(now)
	l.spaceChanged() // the peer may have everything: then no write comes that would find out
	l.startFlush()
	return true
}

// detach closes a connection and lets go of it. Its bytes that have not been handled are dropped. True means that it is gone,
// or that it was not the lane's; otherwise its flusher will tell the owner.
func (l *lane) detach(k *link) bool {
	k.deaf.Store(true)
	k.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != k {
		return true
	}
	l.out.DropGoodbye()
	return l.letGo()
}

// part says goodbye on a connection after everything that is queued, then lets go of it: the flusher will tell the owner.
// Nothing more is received from it. Frames whose tasks have begun are counted in the ack before the goodbye; what the peer
// has sent beyond them was not handled, and it may do that elsewhere. A peer that does not read is closed after lingerTime.
func (l *lane) part(k *link, g proto.Goodbye) {
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != k || k.deaf.Swap(true) {
		return
	}
	k.setWriteDeadline(time.Now().Add(lingerTime))
	l.out.Goodbye(proto.AppendGoodbye(nil, g))
	l.startFlush()
}

// letGo takes away a link that is deaf, once it is not being written and no goodbye waits. The caller holds mu.
func (l *lane) letGo() bool {
	if l.flushing || l.out.Parting() || !l.link.deaf.Load() {
		return false
	}
	l.link = nil
	l.flushed.Broadcast()
	return true
}

// awaitDetached waits until the flusher has let go of a link that was detached or parted from.
func (l *lane) awaitDetached(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.link == k {
		l.flushed.Wait()
	}
}

// spaceChanged wakes those who wait for room in the outbox, and tells the owner. The caller holds mu.
func (l *lane) spaceChanged() {
	kept := l.out.Unacknowledged()
	if l.full && kept < l.maxKept/2 {
		l.full = false
		l.owner.space(true)
	}
	if len(l.spaceFor) > 0 && kept < l.maxKept && l.out.Unsent() < streamAhead {
		for i, s := range l.spaceFor {
			s.wakeSender()
			l.spaceFor[i] = nil
		}
		l.spaceFor = l.spaceFor[:0]
	}
}

// appended is called, with mu held, after something was put into the outbox.
func (l *lane) appended() {
	l.grown()
	l.startFlush()
}

// grown tells the owner when the outbox has become full. The caller holds mu, and sees to it that the outbox is
// flushed.
func (l *lane) grown() {
	if !l.full && l.out.Unacknowledged() >= l.maxKept {
		l.full = true
		l.owner.space(false)
	}
}

// control appends a control frame, made by add, ahead of everything else.
func (l *lane) control(add func(dst []byte) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != nil {
		l.out.Control(l.in.Received(), add)
		l.startFlush()
	}
}

// epoch is where monotonic starts.
var epoch = time.Now()

// monotonic returns nanoseconds on a clock that never goes back, above zero.
func monotonic() int64 { return int64(time.Since(epoch)) + 1 }

// errDetached ends the reading of a link that the lane has let go of.
var errDetached = errors.New("connection was replaced")

// frameHandler handles the frames of a lane, at either end. A frame is valid during the call.
type frameHandler interface {
	frame(f *proto.Frame) error
}

// each hands the whole frames at the start of src, which have come by k, to a handler. It returns what a receiver does.
func (l *lane) each(k *link, src []byte, to frameHandler) (consumed, need int, err error) {
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	frames, err := l.frames(k, src)
	if err != nil {
		return 0, 0, err
	}
	for frames.Next() {
		if err := to.frame(frames.Frame()); err != nil {
			frames.Fail(err)
		}
	}
	return frames.End()
}

// frames begins with what has come by k. It leaves frames to another turn that come after mostExpanded, where k has turns. The
// caller holds recvMu.
func (l *lane) frames(k *link, src []byte) (session.Frames, error) {
	l.mu.Lock()
	current := l.link == k
	l.mu.Unlock()
	if !current || k.deaf.Load() {
		return session.Frames{}, errDetached
	}
	l.lastRead.Store(monotonic())
	expand := 0
	if k.turns {
		expand = mostExpanded
	}
	return l.in.Frames(src, expand), nil
}

// acknowledgeRead tells the peer what has arrived if that is much. The reader calls it after each burst of frames.
func (l *lane) acknowledgeRead() {
	if l.in.Received()-l.out.Told() >= session.AckEvery {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.AckNow()
		l.startFlush()
	}
}

// controlFrame handles the control frames that are the same at both ends; false means that it is none of them.
func (l *lane) controlFrame(f *proto.Frame) (bool, error) {
	switch f.Kind {
	case proto.KindAck:
		received, err := proto.ParseAck(f.Payload)
		if err != nil {
			return true, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.out.Acknowledged(received) {
			return true, fmt.Errorf("%w: ack of %d bytes, %d sent", proto.ErrMalformed, received, l.out.End())
		}
		l.spaceChanged()
		return true, nil
	case proto.KindPing:
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.link == nil {
			return true, nil
		}
		defer l.startFlush()
		return true, l.out.Pong(l.in.Received(), f.Payload)
	}
	return false, nil
}
