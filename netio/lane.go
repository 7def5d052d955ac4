package netio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shoal/proto"
)

// lane is one ordered, resumable channel of frames between a swarm and a gateway; both ends use it. It outlives the
// connections that carry it: what was sent is kept until the peer acknowledges it, and goes out again on the next
// connection from where the peer says it was cut.
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

	recvMu   sync.Mutex    // held while received bytes are handled; taken before mu
	received atomic.Uint64 // bytes of whole sequenced frames received; written under recvMu
	limit    int           // our frame limit
	features uint32        // compressions that were agreed on; the reader's

	mu       sync.Mutex // guards what follows
	link     *link      // nil: no connection now
	out      outbox
	flushing bool
	ackNow   bool      // the next write tells the peer what has arrived, however little
	flushed  sync.Cond // signalled when flushing becomes false
	goodbye  []byte    // the frame after which the link is let go of; nil: none
	closed   bool
	maxKept  int                // above so many unacknowledged bytes, new work waits
	streams  map[uint32]*Stream // open ones, by id
	windows  int                // credit that the peer has for these, in all
	growTo   int                // the windows of streams may grow to so much in all
	spaceFor []*Stream          // streams that wait for space in the outbox
	full     bool               // the owner was told that the lane is full
	pieces   [][]byte           // the flusher's scratch

	told     atomic.Uint64 // received count last told to the peer; written under mu
	heard    atomic.Bool   // something has come since the lane began
	lastRead atomic.Int64  // when bytes last arrived, as monotonic() has it
	lastSent atomic.Int64  // when the last write ended
}

// laneOwner is what a lane serves: the gateway's handler or the swarm's.
type laneOwner interface {
	// frame handles one frame, which is expanded and whole; its payload is the lane's. An error ends the connection.
	frame(f proto.Frame) error
	// burst is called after the frames of one read have been handled.
	burst()
	// space is called, with mu held, when the lane has become full (false) or has room again (true).
	space(free bool)
	// detached is called, without mu, by a flusher that has let go of k for the caller of detach or part.
	detached(k *link)
}

const (
	ackSoon   = 4 << 10   // tell the peer with the next write when so many bytes have arrived since it was last told
	ackEvery  = 32 << 10  // write for that alone when it is so many
	mostWrite = 512 << 10 // bytes in one write: control frames get their turn between two
	// mostControl bounds the control frames for a peer that does not read: it gets no more pongs and acks than this.
	mostControl = 64 << 10
	// mostExpanded is how many bytes an event loop expands of one connection before others get their turn, and at least one
	// frame.
	mostExpanded = 1 << 20
	// streamAhead bounds what streams put before the frames of others: a chunk waits while so much is unsent.
	streamAhead = 256 << 10
)

func (l *lane) init(owner laneOwner, frameLimit, maxKept int) {
	l.owner, l.limit, l.maxKept = owner, frameLimit, maxKept
	l.out = newOutbox()
	l.flushed.L = &l.mu
}

// attach gives the lane a new connection, whose peer has received so many of our bytes; control goes out first. The old
// connection must be detached. False means that the peer's count is impossible, or that the lane is closed.
func (l *lane) attach(k *link, received uint64, control []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.link != nil || !l.out.rewind(received) {
		return false
	}
	l.link = k
	l.out.control = append(l.out.control, control...)
	l.told.Store(l.received.Load())
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
	l.goodbye = nil
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
	l.goodbye = proto.AppendGoodbye(nil, g)
	l.startFlush()
}

// letGo takes away a link that is deaf, once it is not being written and no goodbye waits. The caller holds mu.
func (l *lane) letGo() bool {
	if l.flushing || l.goodbye != nil || !l.link.deaf.Load() {
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
	kept := l.out.unacknowledged()
	if l.full && kept < l.maxKept/2 {
		l.full = false
		l.owner.space(true)
	}
	if len(l.spaceFor) > 0 && kept < l.maxKept && l.out.unsent() < streamAhead {
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
	if !l.full && l.out.unacknowledged() >= l.maxKept {
		l.full = true
		l.owner.space(false)
	}
}

// control appends a control frame, made by add, ahead of everything else.
func (l *lane) control(add func(dst []byte) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != nil {
		if len(l.out.control) <= mostControl {
			l.acknowledge()
		}
		l.out.control = add(l.out.control)
		l.startFlush()
	}
}

// acknowledge tells the peer what has arrived, if it does not know. The caller holds mu.
func (l *lane) acknowledge() {
	if received := l.received.Load(); received != l.told.Load() {
		l.told.Store(received)
		l.out.control = proto.AppendAck(l.out.control, received)
	}
}

// epoch is where monotonic starts.
var epoch = time.Now()

// monotonic returns nanoseconds on a clock that never goes back, above zero.
func monotonic() int64 { return int64(time.Since(epoch)) + 1 }

// errDetached ends the reading of a link that the lane has let go of.
var errDetached = errors.New("connection was replaced")

// receive handles the whole frames at the start of src, which have come by k: lane is a receiver. It leaves those to
// another turn that come after mostExpanded, where k has turns.
func (l *lane) receive(k *link, src []byte) (consumed, need int, err error) {
	l.recvMu.Lock()
	defer l.recvMu.Unlock()
	l.mu.Lock()
	current := l.link == k
	l.mu.Unlock()
	if !current || k.deaf.Load() {
		return 0, 0, errDetached
	}
	l.lastRead.Store(monotonic())
	if !l.heard.Load() {
		l.heard.Store(true)
	}
	for expanded := 0; !k.turns || expanded < mostExpanded; {
		f, size, err := proto.ParseFrame(src[consumed:], l.limit)
		if err != nil {
			return consumed, 0, err
		}
		if size == 0 {
			break
		}
		n, err := l.handle(f)
		if err != nil {
			return consumed, 0, err
		}
		expanded += n
		consumed += size
		if f.Kind.Sequenced() {
			l.received.Add(uint64(size))
		}
	}
	l.owner.burst()
	if l.received.Load()-l.told.Load() >= ackEvery {
		l.mu.Lock()
		l.ackNow = true
		l.startFlush()
		l.mu.Unlock()
	}
	need, err = proto.FrameSize(src[consumed:], l.limit)
	return consumed, need, err
}

// handle expands a frame if need be and passes it on. It returns how many bytes it has expanded.
func (l *lane) handle(f proto.Frame) (size int, err error) {
	c := f.Compression()
	if c == proto.CompressNone {
		return 0, l.dispatch(f)
	}
	if c.Feature()&l.features == 0 {
		return 0, fmt.Errorf("%w: %v was not agreed on", proto.ErrMalformed, c)
	}
	if size, err = proto.ExpandedSize(f, l.limit); err != nil {
		return 0, err
	}
	b := newBuffer(size)
	defer b.free()
	b.b = b.b[:size]
	if err := proto.Expand(b.b, f); err != nil {
		return 0, err
	}
	return size, l.dispatch(proto.Frame{Kind: f.Kind, Flags: f.Flags, Payload: b.b})
}

// dispatch handles control frames and leaves the others to the owner.
func (l *lane) dispatch(f proto.Frame) error {
	switch f.Kind {
	case proto.KindAck:
		received, err := proto.ParseAck(f.Payload)
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.out.acknowledge(received) {
			return fmt.Errorf("%w: ack of %d bytes, %d sent", proto.ErrMalformed, received, l.out.end)
		}
		l.spaceChanged()
		return nil
	case proto.KindPing:
		if len(f.Payload) > proto.PingLimit {
			return fmt.Errorf("%w: ping of %d bytes", proto.ErrMalformed, len(f.Payload))
		}
		l.control(func(dst []byte) []byte {
			if len(dst) > mostControl {
				return dst
			}
			return proto.AppendFrame(dst, proto.Frame{Kind: proto.KindPong, Payload: f.Payload})
		})
		return nil
	default:
		return l.owner.frame(f)
	}
}
