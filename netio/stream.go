package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"shoal/proto"
)

// Stream is one open stream, at either end. Send may be used by one goroutine while another uses Recv; two must not
// use the same one at once.
//
// What waits for whom: Send waits for the peer's credit and for room in the connection's outbox; Recv waits for chunks.
// Credit goes back to the peer as chunks are consumed, so a stream that nobody reads holds up nothing but itself. At a
// client it grows while the reader waits for more, to three times SwarmConfig.StreamCredit for the open streams of a
// connection in all.
type Stream struct {
	lane   *lane
	id     uint32
	name   string
	client bool
	shape  proto.Shape
	ctx    context.Context // at the gateway, what the subroutine has; at the client, what the caller gave
	cancel context.CancelCauseFunc

	recvWake chan struct{} // one slot: something has changed for Recv
	sendWake chan struct{} // one slot: something has changed for Send

	// Recv's own.
	taken  inbox // out of in, so that a chunk costs no lock
	window int   // credit that the peer has in all; written under lane.mu
	owed   int   // consumed, and not given back yet
	waited bool  // there was nothing to consume since credit was last given back

	last     atomic.Int64 // ident of the last chunk that Recv returned
	received atomic.Int64 // chunks that it returned
	dropped  atomic.Bool  // what has not been consumed is not wanted any more

	// Guarded by lane.mu.
	in        inbox
	allowed   int  // credit that the peer has left
	peerEnded bool // no more chunks will come
	credit    int  // what the peer lets us send
	queued    bool // in lane.spaceFor
	sentEnd   bool // we send no more chunks
	over      bool // out of the lane's table: its terminal status is known
	err       error
	result    []byte // of a send, at the client
	progress  Progress
}

// Progress says how far a stream came.
type Progress struct {
	LastIdent int64 // of the last chunk received
	Received  int64 // chunks received
	Sent      int64 // bytes of chunks sent
	Taken     int64 // bytes of chunks that the peer's side has consumed, at least

	sent []int32 // lengths of chunks that the peer has not consumed, as far as we know
	cost int     // credit that came back and covers no whole chunk yet
}

// StreamError is how a stream ends that was cut off: Err is ErrLost and why, or ErrCanceled where its swarm was closed. It
// matches Err by errors.Is, and says what was delivered, so that the caller can go on from there.
type StreamError struct {
	Subroutine string
	Err        error
	Progress   Progress
}

func (e *StreamError) Error() string {
	p := e.Progress
	if p.Received > 0 {
		return fmt.Sprintf("%s: %v (%d chunks received, the last with ident %d)", e.Subroutine, e.Err, p.Received, p.LastIdent)
	}
	return fmt.Sprintf("%s: %v (%d bytes sent, %d taken)", e.Subroutine, e.Err, p.Sent, p.Taken)
}

// Unwrap returns Err.
func (e *StreamError) Unwrap() error { return e.Err }

// Is makes canceled match context.Canceled, as it does in a *TaskError.
func (e *StreamError) Is(target error) bool {
	return target == context.Canceled && errors.Is(e.Err, ErrCanceled)
}

// errStreamEnded is what Send returns when the other side wants no more: the stream's status tells the rest.
var errStreamEnded = errors.New("stream has ended")

// newStream returns a stream whose context ends at the deadline, a reading of monotonic, if that is not 0.
func newStream(l *lane, ctx context.Context, id uint32, shape proto.Shape, name string, deadline int64) *Stream {
	s := &Stream{lane: l, id: id, shape: shape, name: name,
		recvWake: make(chan struct{}, 1), sendWake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if deadline != 0 {
		timed, stop := context.WithDeadlineCause(s.ctx, epoch.Add(time.Duration(deadline-1)), ErrTimeout)
		cancel := s.cancel
		s.ctx, s.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
	return s
}

// enter puts the stream into its lane's table; the peer has so much credit. The caller holds the lane's mu.
func (s *Stream) enter(window int) {
	l := s.lane
	if l.streams == nil {
		l.streams = map[uint32]*Stream{}
	}
	l.streams[s.id] = s
	s.window, s.allowed = window, window
	l.windows += window
}

// Context returns the stream's context. At the gateway it ends as soon as the client aborts, leaves for good or its
// deadline passes, and when the subroutine has returned; at the client with the caller's own, with Abort, and when Recv has
// returned the end.
func (s *Stream) Context() context.Context { return s.ctx }

// Send sends a chunk; body is copied. It waits for credit. An error means that nobody reads any more: the client has
// aborted or left (at the gateway), or the subroutine has returned (at the client: Recv or Result say how).
func (s *Stream) Send(ident int64, body []byte) error {
	l := s.lane
	for {
		l.mu.Lock()
		if err := s.cannotSend(len(body)); err != nil {
			l.mu.Unlock()
			return err
		}
		if s.credit > 0 && l.out.unsent() < streamAhead && l.out.unacknowledged() < l.maxKept {
			s.append(ident, body)
			l.mu.Unlock()
			return nil
		}
		if s.credit > 0 && !s.queued {
			s.queued = true
			l.spaceFor = append(l.spaceFor, s)
		}
		l.mu.Unlock()
		select {
		case <-s.sendWake:
		case <-s.ctx.Done():
			if !s.client {
				return context.Cause(s.ctx)
			}
			s.abort(s.ctx.Err())
		}
	}
}

// cannotSend says why a chunk cannot be sent, now or later. The caller holds the lane's mu.
func (s *Stream) cannotSend(size int) error {
	switch {
	case s.err != nil:
		return s.failure()
	case s.over:
		return errStreamEnded
	case s.sentEnd:
		return fmt.Errorf("%s: chunk after the end: %w", s.name, ErrClosed)
	case proto.ChunkHeaderSize+size > s.lane.out.limit:
		return fmt.Errorf("%s: chunk of %d bytes: %w of %d bytes", s.name, size, ErrTooLarge, s.lane.out.limit)
	}
	return nil
}

func (s *Stream) append(ident int64, body []byte) {
	s.credit -= proto.ChunkHeaderSize + len(body)
	b := s.lane.out.entry(proto.KindChunks, openKey{}, proto.ChunkHeaderSize+len(body), maxEntries)
	b.b = proto.AppendChunk(b.b, proto.Chunk{Stream: s.id, Ident: ident, Body: body})
	s.lane.appended()
	if s.client {
		s.progress.Sent += int64(len(body))
		s.progress.sent = append(s.progress.sent, int32(len(body)))
	}
}

// Recv returns the next chunk; body is valid until the next call. It waits for one. After the last it returns io.EOF,
// or the error by which the stream ended.
func (s *Stream) Recv() (ident int64, body []byte, err error) {
	ident, body, _, err = s.recv()
	return ident, body, err
}

// recv is Recv; it also says whether another chunk is there already.
func (s *Stream) recv() (ident int64, body []byte, more bool, err error) {
	for {
		if s.dropped.Load() {
			s.taken.drop()
		}
		if ident, body, ok := s.taken.pop(); ok {
			s.last.Store(ident)
			s.received.Add(1)
			s.consumed(proto.ChunkHeaderSize + len(body))
			if !s.taken.more() {
				_, _ = s.take()
			}
			return ident, body, s.taken.more(), nil
		}
		if some, err := s.take(); some {
			continue
		} else if err != nil {
			if s.client {
				s.cancel(context.Canceled) // else the caller's context keeps it for as long as it lives itself
			}
			return 0, nil, false, err
		}
		s.waited = true
		select {
		case <-s.recvWake:
		case <-s.ctx.Done():
			if s.client {
				s.abort(s.ctx.Err())
			} else {
				return 0, nil, false, context.Cause(s.ctx)
			}
		}
	}
}

// take takes what has arrived. Where nothing has, the error says how the stream has ended, if it has.
func (s *Stream) take() (some bool, err error) {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	switch {
	case s.taken.takeAll(&s.in):
		return true, nil
	case s.err != nil:
		return false, s.failure()
	case s.peerEnded:
		return false, io.EOF
	}
	return false, nil
}

// creditGrowth is how many times SwarmConfig.StreamCredit the windows of the streams of one connection may grow to in all.
// More of it is faster while a stream has the connection for itself, and what others want then comes later.
const creditGrowth = 3

// consumed gives credit back, half a window at a time. At the client the window grows while its reader has to wait for more,
// since then it is the window, or the way, that holds the stream up. One that is not read keeps the window that it has.
func (s *Stream) consumed(cost int) {
	if s.owed += cost; s.owed < s.window/2 {
		return
	}
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.peerEnded || s.over {
		return
	}
	give := s.owed
	if more := min(s.window, l.growTo-l.windows); s.waited && more > 0 {
		give += more
		l.windows += more
		s.window += more
	}
	s.owed, s.waited = 0, false
	b := l.out.entry(proto.KindCredit, openKey{}, 8, maxEntries)
	b.b = proto.AppendCredit(b.b, s.id, uint32(give))
	s.allowed += give
	l.appended()
}

// wakeSender is called by the lane, with mu held, when there is room in the outbox.
func (s *Stream) wakeSender() {
	s.queued = false
	wake(s.sendWake)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// failure returns why the stream ended. What a StreamError says was received is what the caller has got: chunks that
// had arrived are still handed out after the gateway was lost. The caller holds the lane's mu.
func (s *Stream) failure() error {
	cut, ok := s.err.(*StreamError) //nolint:errorlint // close put it there
	if !ok {
		return s.err
	}
	now := *cut
	now.Progress = s.soFar()
	return &now
}

// soFar is how far the stream has come. The caller holds the lane's mu.
func (s *Stream) soFar() Progress {
	p := s.progress
	p.LastIdent, p.Received, p.sent = s.last.Load(), s.received.Load(), nil
	return p
}

// streamFrame handles a frame of streams that is the same at both ends.
func (l *lane) streamFrame(f proto.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.nextChunk
	if f.Kind == proto.KindCredit {
		next = l.nextCredit
	}
	rest, err := next(f.Payload)
	for err == nil && len(rest) > 0 {
		rest, err = next(rest)
	}
	return err
}

// nextChunk handles the chunk at the start of src; one of a stream that is over is dropped.
func (l *lane) nextChunk(src []byte) (rest []byte, err error) {
	c, rest, err := proto.NextChunk(src)
	if s := l.streams[c.Stream]; err == nil && s != nil {
		err = s.arrived(c)
	}
	return rest, err
}

// nextCredit handles the credit at the start of src.
func (l *lane) nextCredit(src []byte) (rest []byte, err error) {
	id, bytes, rest, err := proto.NextCredit(src)
	if s := l.streams[id]; err == nil && s != nil {
		err = s.credited(int(bytes))
	}
	return rest, err
}

// arrived takes a chunk in. A chunk for a stream that was aborted here is dropped.
func (s *Stream) arrived(c proto.Chunk) error {
	if s.peerEnded || s.allowed <= 0 {
		return fmt.Errorf("%w: chunk on stream %d without credit or after its end", proto.ErrMalformed, c.Stream)
	}
	s.allowed -= proto.ChunkHeaderSize + len(c.Body)
	if s.err == nil {
		s.in.push(c.Ident, c.Body)
		wake(s.recvWake)
	}
	return nil
}

// maxCredit bounds what a peer may give, far below an overflow.
const maxCredit = 1 << 40

func (s *Stream) credited(bytes int) error {
	if s.credit += bytes; s.credit > maxCredit {
		return fmt.Errorf("%w: credit of stream %d", proto.ErrMalformed, s.id)
	}
	if s.client {
		s.progress.taken(bytes)
	}
	wake(s.sendWake)
	return nil
}

// taken turns credit that came back into bytes of whole chunks.
func (p *Progress) taken(credit int) {
	p.cost += credit
	n := 0
	for n < len(p.sent) && p.cost >= proto.ChunkHeaderSize+int(p.sent[n]) {
		p.cost -= proto.ChunkHeaderSize + int(p.sent[n])
		p.Taken += int64(p.sent[n])
		n++
	}
	p.sent = p.sent[:copy(p.sent, p.sent[n:])]
}

// drop frees what has arrived and nobody will consume. The caller holds the lane's mu.
func (s *Stream) drop() {
	s.dropped.Store(true)
	s.in.drop()
}

// close ends the stream at this end with its terminal state; err nil is a good end. The caller holds the lane's mu.
func (s *Stream) close(err error) {
	if s.over {
		return
	}
	s.over, s.peerEnded = true, true
	if s.err == nil {
		s.err = err
	}
	if err != nil && !s.client {
		s.drop()
	}
	delete(s.lane.streams, s.id)
	s.lane.windows -= s.window
	wake(s.recvWake)
	wake(s.sendWake)
}
