package netio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// Stream is an open stream at the gateway, as its subroutine has it. It ends when the subroutine returns. Send may be used by
// one goroutine while another uses Recv; two must not use the same one at once.
//
// What waits for whom: Send waits for the client's credit and for room in the connection's outbox; Recv waits for chunks.
// Credit goes back to the client as chunks are consumed, so a stream that nobody reads holds up nothing but itself.
type Stream struct{ stream }

// ClientStream is an open stream at the client. Send may be used by one goroutine while another uses Recv; two must not use
// the same one at once. Its owner reads to the end or calls Abort.
//
// What waits for whom is as in a Stream. The gateway's credit grows while the reader waits for more, to three times
// SwarmConfig.StreamCredit for the open streams of a connection in all.
type ClientStream struct{ stream }

// stream is what both ends of a stream have in common.
type stream struct {
	lane   *lane
	id     uint32
	name   string
	client bool
	shape  Shape
	ctx    context.Context // at the gateway, what the subroutine has; at the client, what the caller gave
	cancel context.CancelCauseFunc

	recvWake chan struct{} // one slot: something has changed for Recv
	sendWake chan struct{} // one slot: something has changed for Send

	// Recv's own.
	taken  session.Inbox // out of in, so that a chunk costs no lock
	window int           // credit that the peer has in all
	owed   int           // consumed, and not given back yet
	waited bool          // there was nothing to consume since credit was last given back

	last        atomic.Int64 // ident of the last chunk that Recv returned
	received    atomic.Int64 // chunks that it returned
	dropped     atomic.Bool  // what has not been consumed is not wanted any more
	arrivedCost atomic.Int64 // of chunks that have arrived and still count against the lane's shared credit

	// Guarded by lane.mu.
	in        session.Inbox
	credit    session.Credit
	peerEnded bool // no more chunks will come
	queued    bool // in lane.spaceFor
	sentEnd   bool // we send no more chunks
	over      bool // out of the lane's table: its terminal status is known
	err       error
	result    []byte // of a send, at the client
	progress  Progress
	delivery  session.Delivery // of what was sent, at the client
}

// Progress says how far a stream came.
type Progress struct {
	LastIdent int64 // of the last chunk received
	Received  int64 // chunks received
	Sent      int64 // bytes of chunks sent
	Taken     int64 // bytes of chunks that the peer's side has consumed, at least
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

// init makes a stream ready for use; its context ends at the deadline, a reading of monotonic, if that is not 0.
func (s *stream) init(l *lane, ctx context.Context, id uint32, shape Shape, name string, deadline int64) {
	s.lane, s.id, s.shape, s.name = l, id, shape, name
	s.recvWake, s.sendWake = make(chan struct{}, 1), make(chan struct{}, 1)
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if deadline != 0 {
		timed, stop := context.WithDeadlineCause(s.ctx, epoch.Add(time.Duration(deadline-1)), ErrTimeout)
		cancel := s.cancel
		s.ctx, s.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
}

// enter puts the stream into its lane's table. The peer may send window bytes, and we credit bytes. The caller holds the
// lane's mu.
func (s *stream) enter(window, credit int) {
	l := s.lane
	if l.streams == nil {
		l.streams = map[uint32]*stream{}
	}
	l.streams[s.id] = s
	s.window = window
	s.credit.Open(&l.windows, window, credit)
}

// Context returns the stream's context. At the gateway it ends as soon as the client aborts, leaves for good or its
// deadline passes, and when the subroutine has returned; at the client with the caller's own, with Abort, and when Recv has
// returned the end.
func (s *stream) Context() context.Context { return s.ctx }

// Send sends a chunk; body is copied. It waits for credit. An error means that nobody reads any more: the client has
// aborted or left (at the gateway), or the subroutine has returned (at the client: Recv or Result say how).
func (s *stream) Send(ident int64, body []byte) error {
	l := s.lane
	for {
		l.mu.Lock()
		if err := s.cannotSend(len(body)); err != nil {
			l.mu.Unlock()
			return err
		}
		if s.credit.CanSend() && l.shared.CanSend() && l.out.Unsent() < streamAhead && l.out.Unacknowledged() < l.maxKept {
			s.append(ident, body)
			l.mu.Unlock()
			return nil
		}
		if s.credit.CanSend() && !s.queued {
			s.queued = true
			if l.shared.CanSend() {
				l.spaceFor = append(l.spaceFor, s)
			} else {
				l.creditFor = append(l.creditFor, s)
			}
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
func (s *stream) cannotSend(size int) error {
	switch {
	case s.err != nil:
		return s.failure()
	case s.over:
		return errStreamEnded
	case s.sentEnd:
		return fmt.Errorf("%s: chunk after the end: %w", s.name, ErrClosed)
	case proto.ChunkHeaderSize+size > s.lane.out.Limit():
		return fmt.Errorf("%s: chunk of %d bytes: %w of %d bytes", s.name, size, ErrTooLarge, s.lane.out.Limit())
	}
	return nil
}

func (s *stream) append(ident int64, body []byte) {
	s.credit.Sent(len(body))
	s.lane.shared.Sent(len(body))
	b := s.lane.out.Entry(proto.KindChunks, session.FrameKey{}, session.ChunkCost(len(body)), session.NoLimit)
	b.B = proto.AppendChunk(b.B, proto.Chunk{Stream: s.id, Ident: ident, Body: body})
	s.lane.appended()
	if s.client {
		s.progress.Sent += int64(len(body))
		s.delivery.Sent(len(body))
	}
}

// wakeSender is called by the lane, with mu held, when there is room in the outbox, or shared credit.
func (s *stream) wakeSender() {
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
func (s *stream) failure() error {
	cut, ok := s.err.(*StreamError) //nolint:errorlint // close put it there
	if !ok {
		return s.err
	}
	now := *cut
	now.Progress = s.soFar()
	return &now
}

// soFar is how far the stream has come. The caller holds the lane's mu.
func (s *stream) soFar() Progress {
	p := s.progress
	p.LastIdent, p.Received = s.last.Load(), s.received.Load()
	return p
}

// close ends the stream at this end with its terminal state; err nil is a good end. The caller holds the lane's mu.
func (s *stream) close(err error) {
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
	s.dropShared()
	delete(s.lane.streams, s.id)
	s.credit.Close(&s.lane.windows)
	wake(s.recvWake)
	wake(s.sendWake)
}
