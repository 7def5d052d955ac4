package netio

import (
	"context"
	"errors"
	"fmt"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// ackLag is how many more answers than it has ids a client may have received without having told so.
const ackLag = 64 << 10 / proto.ResultHeaderSize

// refusals counts answers, and ends of streams, that wait for no worker and so for no room in the outbox. Of those that
// are not acknowledged a client can have caused no more than its ids and the lag of its acks allow, so twice as many since
// the last mark but one are too many: it uses ids again whose answers it has not read. The caller holds mu.
func (h *handler) refusals(n int) error {
	if h.out.Acked() >= h.mark {
		h.mark = h.out.End() + uint64(min(1, h.out.OpenBytes())) // what is open may shrink when it is taken
		h.refusedBefore, h.refused = h.refused, 0
	}
	h.refused += n
	if h.out.Unacknowledged() < h.maxKept { // it is no more than may be kept; of compressed answers the lag has many more
		return nil
	}
	if h.refusedBefore+h.refused > 2*(h.gateway.config.Window+h.gateway.config.Streams+ackLag) {
		return fmt.Errorf("%w: ids are used again, and their answers are not acknowledged", proto.ErrMalformed)
	}
	return nil
}

// answer puts a task's result into the outbox, once, in a frame with fields (as encodeError makes them). Without flush, the
// caller sees to it that flushTurn is called.
func (h *handler) answer(t *task, status Status, body []byte, fields string, flush bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.answered.Load() {
		return
	}
	h.answerLocked(t, status, body, fields)
	if flush {
		h.startFlush()
	}
}

// flushTurn writes what a worker's run of tasks has answered.
func (h *handler) flushTurn() {
	h.mu.Lock()
	h.gathered.Store(false)
	mine := h.out.OpenBytes() > 0 && h.claimFlush()
	h.mu.Unlock()
	if mine {
		h.flushHere()
	}
}

func (h *handler) answerLocked(t *task, status Status, body []byte, fields string) {
	if t.b.once != nil {
		h.gateway.once.end(t.b, status, body, fields)
	}
	if int(t.id) < len(h.slots) { // else the handler has ended, and somebody else has waited for this
		h.slots[t.id] = nil
	}
	h.unanswered--
	h.bodies -= int64(t.size)
	if !h.ended {
		h.appendResult(t.id, status, body, fields)
	}
	t.answered.Store(true) // last: a worker that sees it before the task began lets go of the task without taking mu
}

// appendResult puts a result into the outbox. The caller holds mu, and has it flushed.
func (h *handler) appendResult(id uint32, status Status, body []byte, fields string) {
	if len(fields)+proto.ResultHeaderSize+len(body) > h.out.Limit() {
		fields = ""
		status = StatusFailed
		body = proto.AppendError(nil, proto.Error{Code: proto.CodeTooLarge,
			Text: fmt.Sprintf("answer of %d bytes, the client takes frames of %d", len(body), h.out.Limit())})
	}
	b := h.out.Entry(proto.KindResults, session.FrameKey{Fields: fields}, proto.ResultHeaderSize+len(body), session.NoLimit)
	b.B = proto.AppendResult(b.B, id, status, body)
	h.grown()
}

// panicked logs what a subroutine's panic left behind; kind says what the id is of.
func (h *handler) panicked(name, kind string, id uint32, value any, stack []byte) {
	h.gateway.counters.panics.Add(1)
	h.gateway.log.Error("subroutine panicked", "subroutine", name, kind, id, "remote", h.peer(), "lane", h.session.lane,
		"panic", value, "stack", string(stack))
}

func panicText(value any) string { return fmt.Sprint("panic: ", value) }

// encodeError returns the status and the bytes that carry a subroutine's error, and the fields of their frame.
func encodeError(err error) (status Status, body []byte, fields string) {
	defer func() { // the methods of an error are the subroutine's: those of a nil pointer in an interface panic, say
		if v := recover(); v != nil {
			status, body, fields = StatusPanicked, proto.AppendError(nil, proto.Error{Text: panicText(v)}), ""
		}
	}()
	var f *StatusError
	if errors.As(err, &f) {
		status := f.Status
		if status == StatusOK || status == StatusLost || status > StatusNotAllowed { // those do not cross the wire
			status = StatusFailed
		}
		if status == StatusBusy && f.RetryAfter > 0 {
			fields = string(proto.AppendFields(nil, proto.RetryAfterField(f.RetryAfter)))
		}
		if f.Code == 0 && f.Text == "" && len(f.Details) == 0 {
			return status, nil, fields
		}
		return status, proto.AppendError(nil, proto.Error{Code: f.Code, Text: f.Text, Details: f.Details}), fields
	}
	status = StatusFailed
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		status = StatusTimeout
	case errors.Is(err, context.Canceled):
		status = StatusCanceled
	case errors.Is(err, ErrUnknownTask):
		return StatusUnknownTask, nil, ""
	}
	code := uint16(proto.CodeNone)
	if errors.Is(err, ErrBadArgument) {
		code = proto.CodeBadArgument
	}
	return status, proto.AppendError(nil, proto.Error{Code: code, Text: err.Error()}), ""
}
