package netio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shoal/proto"
)

// Status is the terminal status of a task or a stream; its String is the name that output files carry.
type Status = proto.Status

// The statuses. Every task ends in exactly one of them.
const (
	StatusOK                = proto.StatusOK
	StatusFailed            = proto.StatusFailed
	StatusPanicked          = proto.StatusPanicked
	StatusTimeout           = proto.StatusTimeout
	StatusCanceled          = proto.StatusCanceled
	StatusBusy              = proto.StatusBusy
	StatusDraining          = proto.StatusDraining
	StatusUnknownSubroutine = proto.StatusUnknownSubroutine
	StatusUnknownTask       = proto.StatusUnknownTask
	StatusLost              = proto.StatusLost
	StatusNotAllowed        = proto.StatusNotAllowed
)

// Errors by which a call, a stream or a send ends; a *TaskError matches one of them by errors.Is. The table in the
// package documentation says when each happens, whether the task ran, and what to do.
var (
	ErrFailed            = errors.New("subroutine failed")
	ErrPanicked          = errors.New("subroutine panicked")
	ErrTimeout           = errors.New("deadline passed")
	ErrCanceled          = errors.New("canceled")
	ErrBusy              = errors.New("gateway is busy")
	ErrDraining          = errors.New("gateway is draining")
	ErrUnknownSubroutine = errors.New("unknown subroutine")
	ErrUnknownTask       = errors.New("unknown task")
	ErrLost              = errors.New("outcome unknown: the gateway was lost")
	ErrNotAllowed        = errors.New("not allowed")

	ErrTooLarge    = errors.New("above the frame limit")
	ErrWrongShape  = errors.New("subroutine has another shape")
	ErrBadArgument = errors.New("bad argument")
)

// Errors of connections.
var (
	ErrUnreachable = errors.New("no gateway reached")
	ErrFull        = errors.New("gateway is full")
	ErrVersion     = errors.New("no protocol version in common")
	ErrUntrusted   = errors.New("gateway is not to be trusted")
	ErrNotShoal    = proto.ErrNotShoal
	ErrMalformed   = proto.ErrMalformed
	errIdle        = errors.New("peer was silent for too long")
	errSlow        = errors.New("peer did not read for too long")
	errSuperseded  = errors.New("another connection took over")
	ErrClosed      = errors.New("closed")
)

var statusErrors = map[Status]error{
	StatusFailed: ErrFailed, StatusPanicked: ErrPanicked, StatusTimeout: ErrTimeout, StatusCanceled: ErrCanceled,
	StatusBusy: ErrBusy, StatusDraining: ErrDraining, StatusUnknownSubroutine: ErrUnknownSubroutine,
	StatusUnknownTask: ErrUnknownTask, StatusLost: ErrLost, StatusNotAllowed: ErrNotAllowed,
}

var codeErrors = map[uint16]error{
	proto.CodeTooLarge: ErrTooLarge, proto.CodeWrongShape: ErrWrongShape, proto.CodeBadArgument: ErrBadArgument,
	codeNotRun: ErrUnreachable,
}

// codeNotRun goes with StatusLost where the task was certainly never run; the client alone uses it.
const codeNotRun = 1023

// TaskError is how a caller sees a task or a stream that did not end well.
//
// errors.Is matches the error of its status and of its code; a timeout also matches context.DeadlineExceeded, and
// canceled context.Canceled.
type TaskError struct {
	Subroutine string
	Status     Status
	Code       uint16 // 0, or what the subroutine gave, or one of the codes of package proto
	Text       string // what the subroutine said
	Details    []byte // what the subroutine gave beside the text; the caller's
	// RetryAfter, with StatusBusy, is how long the gateway asks its callers to wait; 0: it does not say. A Map with Retries does
	// so by itself.
	RetryAfter time.Duration
}

func (e *TaskError) Error() string {
	what := e.Status.String()
	if named := statusErrors[e.Status]; named != nil {
		what = named.Error()
	}
	if e.Text != "" {
		return fmt.Sprintf("%s: %s: %s", e.Subroutine, what, e.Text)
	}
	return fmt.Sprintf("%s: %s", e.Subroutine, what)
}

// Is reports whether target is the error of this status or code.
func (e *TaskError) Is(target error) bool {
	switch target {
	case nil:
		return false
	case statusErrors[e.Status], codeErrors[e.Code]:
		return true
	case context.DeadlineExceeded:
		return e.Status == StatusTimeout
	case context.Canceled:
		return e.Status == StatusCanceled
	}
	return false
}

// StatusOf returns the terminal status that an error stands for: StatusOK for nil, that of a *TaskError in its chain, that of
// the errors named here, the one with the lowest status where there are several, and StatusFailed for anything else.
func StatusOf(err error) Status {
	if err == nil {
		return StatusOK
	}
	var te *TaskError
	if errors.As(err, &te) {
		return te.Status
	}
	for status := StatusFailed; status <= StatusNotAllowed; status++ { // in order: an error may match several
		if named := statusErrors[status]; named != nil && errors.Is(err, named) {
			return status
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return StatusTimeout
	case errors.Is(err, context.Canceled):
		return StatusCanceled
	}
	return StatusFailed
}

// StatusError is an error that a subroutine returns to give its caller more than a text. A subroutine may return any
// error: of one that is no StatusError, the caller gets the text.
type StatusError struct {
	Status  Status // StatusFailed if zero; StatusUnknownTask, StatusBusy and StatusNotAllowed are the others of use
	Code    uint16 // from 1024: the subroutine's own
	Text    string
	Details []byte
	// RetryAfter, with StatusBusy, is how long the caller had better wait before it asks again; 0: nothing is said.
	RetryAfter time.Duration
}

func (f *StatusError) Error() string { return f.Text }

// goodbyeError is what a peer gave as its reason to end a connection.
type goodbyeError struct {
	Code       proto.GoodbyeCode
	Text       string
	RetryAfter time.Duration // with GoodbyeFull; 0: nothing is said
	Successor  string        // with GoodbyeDraining: the URL of the gateway to go to; empty: none is named
}

// heard returns what a peer has said.
func heard(g proto.Goodbye) *goodbyeError {
	e := &goodbyeError{Code: g.Code, Text: g.Text}
	switch g.Code {
	case proto.GoodbyeFull:
		e.RetryAfter = g.RetryAfter()
	case proto.GoodbyeDraining:
		e.Successor = g.Successor()
	}
	return e
}

// frame returns what says it on the wire.
func (e *goodbyeError) frame() proto.Goodbye {
	g := proto.Goodbye{Code: e.Code, Text: e.Text}
	if e.RetryAfter > 0 {
		g.Extensions = append(g.Extensions, proto.RetryAfterField(e.RetryAfter))
	}
	if e.Successor != "" {
		g.Extensions = append(g.Extensions, proto.Extension{Type: proto.ExtensionSuccessor, Value: []byte(e.Successor)})
	}
	return g
}

func (e *goodbyeError) Error() string {
	if e.Text == "" {
		return "gateway said goodbye: " + e.Code.String()
	}
	return fmt.Sprintf("gateway said goodbye: %v: %s", e.Code, e.Text)
}

// Is reports whether target is the error of this code.
func (e *goodbyeError) Is(target error) bool {
	return target != nil && target == goodbyeErrors[e.Code]
}

var goodbyeErrors = map[proto.GoodbyeCode]error{
	proto.GoodbyeDone: ErrClosed, proto.GoodbyeFull: ErrFull, proto.GoodbyeDraining: ErrDraining,
	proto.GoodbyeVersion: ErrVersion, proto.GoodbyeNotAllowed: ErrNotAllowed, proto.GoodbyeMalformed: ErrMalformed,
	proto.GoodbyeIdle: errIdle, proto.GoodbyeSuperseded: errSuperseded, proto.GoodbyeSlow: errSlow,
}

// goodbyeFor returns what to tell the peer whose connection ends with err.
func goodbyeFor(err error) (proto.Goodbye, bool) {
	switch {
	case errors.Is(err, proto.ErrMalformed), errors.Is(err, proto.ErrTooLarge), errors.Is(err, proto.ErrNotShoal):
		return proto.Goodbye{Code: proto.GoodbyeMalformed, Text: err.Error()}, true
	case errors.Is(err, errSlow):
		return proto.Goodbye{Code: proto.GoodbyeSlow, Text: err.Error()}, true
	case errors.Is(err, errIdle):
		return proto.Goodbye{Code: proto.GoodbyeIdle, Text: err.Error()}, true
	}
	var g *goodbyeError
	if errors.As(err, &g) {
		return g.frame(), true
	}
	return proto.Goodbye{}, false
}
