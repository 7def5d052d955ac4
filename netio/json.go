package netio

import (
	"context"
	"encoding/json"
	"fmt"
)

// JSON makes a CallFunc of a function on typed values, which cross the wire as JSON. An argument of another type than
// In is ErrBadArgument at the caller.
//
// No argument at all is taken as null, which is the zero In: a subroutine that needs none can be called with none. One that
// has to know whether it got an argument takes a pointer, which is nil then.
func JSON[In, Out any](fn func(ctx context.Context, in In) (Out, error)) CallFunc {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var in In
		if err := unmarshal(body, &in); err != nil {
			return nil, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// CallJSON calls a subroutine with a typed value and decodes its answer; one that is not of type Out is ErrBadArgument, and
// none at all is the zero Out.
func CallJSON[Out any](ctx context.Context, s *Swarm, name string, in any) (Out, error) {
	var out Out
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("%s: %w: %w", name, ErrBadArgument, err)
	}
	answer, err := s.Call(ctx, name, body)
	if err != nil {
		return out, err
	}
	if err := unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("%s: answer: %w", name, err)
	}
	return out, nil
}

// unmarshal decodes body; no bytes are JSON's null.
func unmarshal(body []byte, v any) error {
	if len(body) == 0 {
		body = []byte("null")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	return nil
}
