package netio

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"shoal/proto"
)

// openStream starts a subroutine on a goroutine of its own, which ends when the subroutine returns.
func (h *handler) openStream(payload []byte, fields proto.Fields, unknown uint16) error {
	o, err := proto.ParseOpen(payload)
	if err != nil {
		return err
	}
	deadline := h.localDeadline(o.Deadline)
	sub := h.gateway.subroutines.find(o.Name)
	open := &Stream{}
	s := &open.stream
	ctx := h.context()
	if metadata := fields.Get(proto.FieldMetadata); metadata != nil {
		ctx = context.WithValue(ctx, metadataKey, string(metadata))
	}
	s.init(&h.lane, ctx, o.Stream, o.Shape, string(o.Name), deadline)

	forbidden := h.authorize(sub, o.Name, o.Shape)
	h.mu.Lock()
	defer h.mu.Unlock()
	if streams := h.gateway.config.Streams; o.Stream >= uint32(streams) {
		return fmt.Errorf("%w: stream id %d, limit %d", proto.ErrMalformed, o.Stream, streams)
	}
	if h.streams[o.Stream] != nil {
		return fmt.Errorf("%w: stream id %d is in use", proto.ErrMalformed, o.Stream)
	}
	window := h.gateway.config.StreamCredit
	if o.Shape == proto.ShapeStream {
		window = 0
	}
	s.enter(window, h.chunkCredit)
	refusal := h.refusal(sub, o.Name, o.Shape, unknown, forbidden)
	if refusal == nil && h.gateway.counters.streams.Add(1) > int64(h.gateway.config.MaxStreams) {
		h.gateway.counters.streams.Add(-1)
		refusal = h.gateway.busyError("too many streams")
	}
	if refusal == nil && h.openRunning >= h.gateway.config.Streams { // ids are free again when their streams are aborted
		h.gateway.counters.streams.Add(-1)
		refusal = h.gateway.busyError("as many streams as one connection may have, some of them aborted, still run")
	}
	if refusal != nil {
		s.cancel(refusal)
		s.finish(nil, refusal)
		return h.refusals(1)
	}
	if err := h.refusals(1); err != nil { // it may end as soon as it begins
		h.gateway.counters.streams.Add(-1)
		return err
	}
	argument := append([]byte(nil), o.Argument...)
	if deadline != 0 { // whoever else ends the context closes the stream too
		context.AfterFunc(s.ctx, s.stopped)
	}
	h.openRunning++
	h.gateway.streaming.add(s.name)
	go h.runStream(open, sub, argument)
	return nil
}

// context returns what the contexts of streams come from.
func (h *handler) context() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil {
		h.ctx, h.cancel = context.WithCancelCause(context.WithValue(context.Background(), handlerKey, h))
		if h.ended {
			h.cancel(ErrClosed)
		}
	}
	return h.ctx
}

// runStream runs the subroutine of a stream.
func (h *handler) runStream(s *Stream, sub *subroutine, argument []byte) {
	defer h.gateway.counters.streams.Add(-1)
	defer h.gateway.streaming.remove(s.name)
	var result []byte
	err := errors.New("subroutine ended its goroutine")
	status := StatusPanicked
	defer func() { // also runs after runtime.Goexit
		if v := recover(); v != nil {
			h.panicked(s.name, "stream", s.id, v, debug.Stack())
			err = errors.New(panicText(v))
		}
		if status == StatusPanicked {
			err = &StatusError{Status: StatusPanicked, Text: err.Error()}
		}
		if s.ctx.Err() != nil {
			s.stopped() // that is how it ends, whatever the subroutine made of it
		}
		if err != nil { // here, as the error's methods are foreign code
			status, body, _ := encodeError(err)
			e, _ := proto.ParseError(body)
			own := &StatusError{Status: status, Code: e.Code, Text: e.Text, Details: e.Details}
			var f *StatusError
			if status == StatusBusy && errors.As(err, &f) {
				own.RetryAfter = f.RetryAfter
			}
			err = own
		}
		h.mu.Lock()
		h.openRunning-- // before the client learns that it may open another one
		s.finish(result, err)
		h.mu.Unlock()
		s.cancel(context.Canceled)
	}()
	result, err = h.gateway.runOpen(s, sub, argument)
	status = StatusOK
}

// finish ends the stream at the gateway: its terminal status goes to the client, once. The caller holds the lane's mu.
func (s *stream) finish(result []byte, err error) {
	if s.over {
		return
	}
	status, fields := StatusOK, ""
	if err != nil {
		status, result, fields = encodeError(err)
	}
	if len(fields)+5+len(result) > s.lane.out.Limit() {
		fields = ""
		status, result = StatusFailed, proto.AppendError(nil, proto.Error{Code: proto.CodeTooLarge,
			Text: fmt.Sprintf("answer of %d bytes, the client takes frames of %d", len(result), s.lane.out.Limit())})
	}
	if err == nil {
		err = errStreamEnded
	}
	s.close(err)
	s.drop()
	b := s.lane.out.Whole(proto.KindEnd, fields, 5+len(result))
	b.B = proto.AppendEnd(b.B, proto.End{Stream: s.id, Status: status, Body: result})
	s.lane.appended()
}

// stopped ends a stream whose context has ended before its subroutine did: the client learns at once.
func (s *stream) stopped() {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	cause := context.Cause(s.ctx)
	switch {
	case errors.Is(cause, ErrTimeout), errors.Is(cause, context.DeadlineExceeded):
		s.finish(nil, &StatusError{Status: StatusTimeout})
	default:
		s.finish(nil, &StatusError{Status: StatusCanceled})
	}
}

// streamFrame handles what the client says of its streams.
func (h *handler) streamFrame(f *proto.Frame) error {
	switch f.Kind {
	case proto.KindEnd:
		e, err := proto.ParseEnd(f.Payload)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		s := h.streams[e.Stream]
		switch {
		case e.Status != StatusOK || len(e.Body) > 0:
			return fmt.Errorf("%w: end of stream %d by its client with %v and %d bytes", proto.ErrMalformed, e.Stream, e.Status, len(e.Body))
		case s == nil:
			return nil
		case s.peerEnded || s.shape == proto.ShapeStream:
			return fmt.Errorf("%w: end of stream %d, which has no chunks from its client, or no more", proto.ErrMalformed, e.Stream)
		}
		s.peerEnded = true
		wake(s.recvWake)
		return nil
	case proto.KindAbort:
		id, status, err := proto.ParseAbort(f.Payload)
		if err != nil {
			return err
		}
		h.mu.Lock()
		s := h.streams[id]
		h.mu.Unlock()
		if s != nil {
			cause := ErrCanceled
			if status == proto.StatusTimeout {
				cause = ErrTimeout
			}
			s.cancel(cause)
			s.stopped()
		}
		return nil
	}
	return h.lane.streamFrame(f)
}

// endStreams closes the streams of a handler that has ended; their contexts have.
func (h *handler) endStreams() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streams {
		s.close(context.Canceled)
	}
}
