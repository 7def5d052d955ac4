package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"shoal/proto"
)

// Stream is one open stream, at either end. Send may be used by one goroutine while another uses Recv; two must not
// use the same one at once.
//
// What waits for whom: Send waits for the peer's credit and for room in the connection's outbox; Recv waits for chunks.
// Credit goes back to the peer as chunks are consumed, so a stream that nobody reads holds up nothing but itself.
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

	// Guarded by lane.mu.
	in        inbox
	allowed   int  // credit that the peer has left
	window    int  // what it began with
	owed      int  // consumed, and not given back yet
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

// Context returns the stream's context. At the gateway it ends as soon as the client aborts, leaves for good or its
// deadline passes, and when the subroutine has returned.
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
	l := s.lane
	for {
		l.mu.Lock()
		ident, body, ok := s.in.pop()
		if ok {
			s.consumed(proto.ChunkHeaderSize + len(body))
			s.progress.LastIdent = ident
			s.progress.Received++
			more := s.in.more()
			l.mu.Unlock()
			return ident, body, more, nil
		}
		switch {
		case s.err != nil:
			err = s.failure()
		case s.peerEnded:
			err = io.EOF
		}
		l.mu.Unlock()
		if err != nil {
			return 0, nil, false, err
		}
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

// consumed gives credit back, half a window at a time.
func (s *Stream) consumed(cost int) {
	s.owed += cost
	if s.owed < s.window/2 || s.peerEnded || s.over {
		return
	}
	b := s.lane.out.entry(proto.KindCredit, openKey{}, 8, maxEntries)
	b.b = proto.AppendCredit(b.b, s.id, uint32(s.owed))
	s.allowed += s.owed
	s.owed = 0
	s.lane.appended()
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
	now.Progress = s.progress
	now.Progress.sent = nil
	return &now
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
		s.in.drop()
	}
	delete(s.lane.streams, s.id)
	wake(s.recvWake)
	wake(s.sendWake)
}
