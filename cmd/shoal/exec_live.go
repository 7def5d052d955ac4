package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"shoal/netio"
	"shoal/netio/runner"
)

// liveLines writes the output of one attempt as it comes, in whole lines: --live.
type liveLines struct {
	report *execReport
	host   string
	rest   [2][]byte // of standard output and standard error: what has come of a line that has not ended
}

// longestLiveLine is where a line is cut that does not end.
const longestLiveLine = 64 << 10

// live makes an attempt by the stream form of a runner, and writes its output as it comes.
func (r *execReport) live(s *netio.Swarm, via string) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var req runner.Request
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		l := &liveLines{report: r, host: req.Target}
		rec, err := runner.CallLive(ctx, s, via, &req, l.take)
		if err = errors.Join(err, l.end()); err != nil {
			return nil, err
		}
		return rec.MarshalJSON()
	}
}

// take writes the lines that a piece ends.
func (l *liveLines) take(stream runner.Stream, p []byte) error {
	rest := &l.rest[0]
	if stream == runner.Stderr {
		rest = &l.rest[1]
	}
	*rest = append(*rest, p...)
	whole := bytes.LastIndexByte(*rest, '\n') + 1
	if whole == 0 && len(*rest) >= longestLiveLine {
		whole = len(*rest)
	}
	if whole == 0 {
		return nil
	}
	err := l.report.writeLive(stream, l.host, (*rest)[:whole])
	*rest = append((*rest)[:0], (*rest)[whole:]...)
	return err
}

// end writes lines that the command did not end.
func (l *liveLines) end() error {
	var all []error
	for i, stream := range []runner.Stream{runner.Stdout, runner.Stderr} {
		if len(l.rest[i]) > 0 {
			all = append(all, l.report.writeLive(stream, l.host, l.rest[i]))
		}
	}
	return errors.Join(all...)
}

// writeLive writes lines of a device at once.
func (r *execReport) writeLive(stream runner.Stream, host string, lines []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stream == runner.Stderr {
		r.out.errBuf = appendLines(r.out.errBuf, host, lines)
	} else {
		r.out.buf = appendLines(r.out.buf, host, lines)
	}
	return r.out.flush()
}
