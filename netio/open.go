package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// Chunk is one piece of a stream.
type Chunk struct {
	Ident int64
	Body  []byte // valid until the next chunk is asked for
	More  bool   // another chunk is there already: whoever writes these need not flush yet
}

// Stream opens a stream and yields its chunks in the order in which they were sent. After the last, an error is yielded
// with the zero Chunk if the stream did not end well. Breaking the loop aborts the stream, as does the end of ctx.
func (s *Swarm) Stream(ctx context.Context, name string, in []byte) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		enough := false
		_, err := intercept(ctx, s.config.Interceptors, &CallInfo{Subroutine: name, Shape: ShapeStream, Body: in}, func(ctx context.Context, c *CallInfo) ([]byte, error) {
			return nil, s.eachChunk(ctx, c.Subroutine, c.Body, func(chunk Chunk) bool {
				enough = enough || !yield(chunk, nil)
				return !enough
			})
		})
		if err != nil && !enough {
			yield(Chunk{}, err)
		}
	}
}

// eachChunk opens a stream and passes its chunks on until each has had enough.
func (s *Swarm) eachChunk(ctx context.Context, name string, in []byte, each func(c Chunk) bool) error {
	st, err := s.open(ctx, name, in, proto.ShapeStream)
	if err != nil {
		return err
	}
	defer st.Abort()
	for {
		ident, body, more, err := st.recv()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case !each(Chunk{ident, body, more}):
			return nil
		}
	}
}

// StreamFunc opens a stream and calls each with every chunk; false from it aborts the stream. It returns how the stream
// ended: nil at its end or when each had enough.
func (s *Swarm) StreamFunc(ctx context.Context, name string, in []byte, each func(c Chunk) bool) error {
	for c, err := range s.Stream(ctx, name, in) {
		if err != nil {
			return err
		}
		if !each(c) {
			return nil
		}
	}
	return nil
}

// OpenStream opens a stream for reading with Recv or Reader. The caller reads to the end or calls Abort.
func (s *Swarm) OpenStream(ctx context.Context, name string, in []byte) (*ClientStream, error) {
	return s.open(ctx, name, in, proto.ShapeStream)
}

// Duplex opens a stream of both directions. The caller ends its own direction with CloseSend, and reads to the end or
// calls Abort.
func (s *Swarm) Duplex(ctx context.Context, name string, in []byte) (*ClientStream, error) {
	return s.open(ctx, name, in, proto.ShapeDuplex)
}

// Send sends a body of any size to a subroutine and returns its answer, which is the caller's. When the subroutine
// returns early, body is not read to its end. When body fails, the send is aborted and its error returned.
func (s *Swarm) Send(ctx context.Context, name string, in []byte, body io.Reader) ([]byte, error) {
	return intercept(ctx, s.config.Interceptors, &CallInfo{Subroutine: name, Shape: ShapeSend, Body: in}, func(ctx context.Context, c *CallInfo) ([]byte, error) {
		return s.send(ctx, c.Subroutine, c.Body, body)
	})
}

func (s *Swarm) send(ctx context.Context, name string, in []byte, body io.Reader) ([]byte, error) {
	st, err := s.open(ctx, name, in, proto.ShapeSend)
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	buf := session.NewBuffer(session.LargeBuffer)
	defer buf.Free()
	piece := buf.B[:st.chunkSize()]
	for ident := int64(0); ; ident++ {
		n, err := io.ReadFull(body, piece)
		if n > 0 {
			if sendErr := st.Send(ident, piece[:n]); sendErr != nil {
				break // Result says why
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: reading what to send: %w", name, err)
		}
	}
	st.CloseSend()
	return st.Result()
}

// open opens a stream on the lane with the fewest tasks and streams.
func (s *Swarm) open(ctx context.Context, name string, in []byte, shape Shape) (*ClientStream, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, taskErrorFor(name, err)
	}
	fields, err := fieldsOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l, _ := s.pick()
	if l == nil {
		return nil, fmt.Errorf("%w at %s", ErrUnreachable, s.url)
	}
	return l.open(ctx, name, fields, in, shape)
}

func (l *swarmLane) open(ctx context.Context, name, fields string, in []byte, shape Shape) (*ClientStream, error) {
	deadline := deadlineOf(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	size := proto.OpenSize(name, in)
	switch {
	case l.closed:
		return nil, fmt.Errorf("swarm to %s: %w", l.swarm.url, ErrClosed)
	case l.window == 0:
		return nil, fmt.Errorf("%w at %s", ErrUnreachable, l.swarm.url)
	case len(fields)+size > l.out.Limit():
		return nil, fmt.Errorf("%s: argument of %d bytes: %w of %d bytes", name, len(in), ErrTooLarge, l.out.Limit())
	}
	id := l.nextStream
	if n := len(l.freeStreams); n > 0 {
		id = l.freeStreams[n-1]
		l.freeStreams = l.freeStreams[:n-1]
	} else if id < l.maxStreams {
		l.nextStream++
	} else {
		return nil, &TaskError{Subroutine: name, Status: StatusBusy, Text: fmt.Sprintf("%d streams are open on this connection", id)}
	}
	opened := &ClientStream{}
	st := &opened.stream
	st.init(&l.lane, ctx, id, shape, name, 0)
	st.client = true
	window := l.swarm.config.StreamCredit
	if shape == proto.ShapeSend {
		window = 0
	}
	st.enter(window, l.initialCredit)
	st.last.Store(-1)
	st.sentEnd = shape == proto.ShapeStream
	l.inflight.Add(1)
	b := l.out.Whole(proto.KindOpen, fields, size)
	b.B = proto.AppendOpen(b.B, proto.Open{Stream: id, Deadline: deadline, Shape: shape, Name: []byte(name), Argument: in})
	l.appended()
	return opened, nil
}

// streamEnded takes the gateway's terminal status of a stream.
func (l *swarmLane) streamEnded(payload []byte, retryAfter time.Duration) error {
	e, err := proto.ParseEnd(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[e.Stream]
	if s == nil {
		return fmt.Errorf("%w: end of stream %d, which is not open", proto.ErrMalformed, e.Stream)
	}
	l.freeStreams = append(l.freeStreams, e.Stream)
	l.inflight.Add(-1)
	if e.Status == StatusOK {
		s.result = append([]byte{}, e.Body...)
		s.close(nil)
	} else {
		s.close(decodeError(s.name, e.Status, e.Body, retryAfter))
	}
	return nil
}

// loseStreams ends all streams of a lane whose session is gone: lost, or canceled where the swarm was closed. The caller
// holds mu.
func (l *swarmLane) loseStreams(cause error) {
	err := fmt.Errorf("%w: %v", ErrLost, cause) // a cause such as ErrDraining or ErrUnreachable would say that it did not run
	if l.closed {
		err = fmt.Errorf("%w: swarm %w", ErrCanceled, ErrClosed)
	}
	for _, s := range l.streams {
		s.arrivedCost.Store(0) // there is nobody to give the credit to
		s.close(&StreamError{Subroutine: s.name, Err: err, Progress: s.soFar()})
	}
	l.freeStreams, l.nextStream = nil, 0
}

// CloseSend says that no more chunks come from this end.
func (s *ClientStream) CloseSend() {
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.sentEnd || s.over || s.err != nil {
		return
	}
	s.sentEnd = true
	b := l.out.Whole(proto.KindEnd, "", 5)
	b.B = proto.AppendEnd(b.B, proto.End{Stream: s.id, Status: StatusOK})
	l.appended()
}

// Abort ends the stream early: the subroutine's context ends at once. After the end it does nothing.
func (s *ClientStream) Abort() {
	s.abort(context.Canceled)
	s.cancel(context.Canceled)
}

// abort ends the stream at the client because of err. The gateway's end is still to come, and frees the id.
func (s *stream) abort(err error) {
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.over || s.err != nil {
		return
	}
	s.err = taskErrorFor(s.name, err)
	s.drop()
	status := StatusCanceled
	if errors.Is(err, context.DeadlineExceeded) {
		status = StatusTimeout
	}
	b := l.out.Whole(proto.KindAbort, "", 5)
	b.B = proto.AppendAbort(b.B, s.id, status)
	l.appended()
	wake(s.recvWake)
	wake(s.sendWake)
}

// Result waits for the end of a stream, drops the chunks that still come, and returns the subroutine's answer.
func (s *ClientStream) Result() ([]byte, error) {
	for {
		if _, _, err := s.Recv(); err == io.EOF {
			s.lane.mu.Lock()
			defer s.lane.mu.Unlock()
			return s.result, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// Progress says how far the stream has come.
func (s *ClientStream) Progress() Progress {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	return s.soFar()
}
