package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"shoal/netio"
)

// Runner does what requests ask for. Run returns when nothing of the request is left: no process, no session, no goroutine.
// When ctx ends, Run ends what it began, keeps the output that came until then, and returns with ReasonCanceled.
//
// Where live is not nil, Run also hands it each piece of output as it comes, from one goroutine at a time, and waits for it;
// once live has returned an error Run calls it no more, and goes on. Run is safe for concurrent use. The record is the
// caller's and never nil.
type Runner interface {
	Run(ctx context.Context, req *Request, live Live) *Record
}

// Live takes a piece of output as it comes; p is valid until it returns.
type Live func(stream Stream, p []byte) error

// Stream tells which output of a command a piece is of. It is the ident of a chunk of the stream form.
type Stream int64

// The streams of the stream form.
const (
	Stdout Stream = 1
	Stderr Stream = 2
	// recordChunk is the ident of the chunk that carries the record.
	recordChunk Stream = 3
)

// LiveSuffix makes the name of the stream form's subroutine from that of the call's.
const LiveSuffix = ".live"

// Register registers a runner under name as a call, and under name with LiveSuffix appended as a stream that carries the
// output as it comes: see the package documentation for both forms.
func Register(gw *netio.Gateway, name string, r Runner) {
	gw.HandleCall(name, func(ctx context.Context, in []byte) ([]byte, error) {
		return serve(ctx, r, in, nil)
	})
	gw.HandleStream(name+LiveSuffix, func(ctx context.Context, in []byte, out *netio.Stream) error {
		body, err := serve(ctx, r, in, func(stream Stream, p []byte) error { return out.Send(int64(stream), p) })
		if err != nil {
			return err
		}
		return out.Send(int64(recordChunk), body)
	})
}

// serve runs an encoded request and encodes the record.
func serve(ctx context.Context, r Runner, in []byte, live Live) ([]byte, error) {
	var req Request
	if err := json.Unmarshal(in, &req); err != nil {
		return nil, fmt.Errorf("%w: %w", netio.ErrBadArgument, err)
	}
	rec := r.Run(ctx, &req, live)
	body, err := rec.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("%s: record: %w", rec.Runner, err)
	}
	switch rec.Reason {
	case ReasonNotAllowed:
		return nil, &netio.StatusError{Status: netio.StatusNotAllowed, Text: rec.Error, Details: body}
	case ReasonBusy:
		return nil, &netio.StatusError{Status: netio.StatusBusy, Text: rec.Error, Details: body}
	case ReasonBadRequest:
		return nil, fmt.Errorf("%w: %s", netio.ErrBadArgument, rec.Error)
	}
	return body, nil
}
