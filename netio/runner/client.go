package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"shoal/netio"
)

// Call asks the runner that a gateway offers under name. The error is that of the task: the record is there even so where
// the gateway refused the request as not allowed or busy.
func Call(ctx context.Context, s *netio.Swarm, name string, req *Request) (*Record, error) {
	in, err := req.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("%s: request: %w", name, err)
	}
	body, err := s.Call(ctx, name, in)
	if err != nil {
		return RecordOf(err), err
	}
	return ParseRecord(body)
}

// CallLive is Call with the output handed to live as it comes, on the caller's goroutine. An error of live ends it.
func CallLive(ctx context.Context, s *netio.Swarm, name string, req *Request, live Live) (*Record, error) {
	in, err := req.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("%s: request: %w", name, err)
	}
	for chunk, err := range s.Stream(ctx, name+LiveSuffix, in) {
		if err != nil {
			return RecordOf(err), err
		}
		switch Stream(chunk.Ident) {
		case Stdout, Stderr:
			if err := live(Stream(chunk.Ident), chunk.Body); err != nil {
				return nil, err
			}
		case recordChunk:
			return ParseRecord(chunk.Body)
		}
	}
	return nil, fmt.Errorf("%s: the stream ended without a record", name)
}

// ParseRecord reads the JSON form of a record; the record holds nothing of body.
func ParseRecord(body []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

// RecordOf returns the record that came with the error of a task; nil where none did.
func RecordOf(err error) *Record {
	task, ok := errors.AsType[*netio.TaskError](err)
	if !ok || len(task.Details) == 0 {
		return nil
	}
	r, err := ParseRecord(task.Details)
	if err != nil {
		return nil
	}
	return r
}
