package files

import (
	"context"
	"errors"
	"io"

	"shoal/netio"
)

// upload is a large file that a client is putting. Its large stream owns it: the file is closed when that ends.
type upload struct {
	part   *partial
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the file is closed
}

var (
	errTakenOver = &Error{"", CodeInUse, "another transfer of the same file has taken over"}
	errManyLarge = &netio.StatusError{Status: netio.StatusBusy, Text: "too many large files at once"}
)

// large takes a large file. Its argument: rules, then the entry. It answers a token, by which the streams of the ranges
// name the file, in a recDone. When the client has sent all ranges it sends a recEnd, and the file takes its place;
// when it leaves without, what is there stays for the next time, but not when it aborts the stream: then it is gone.
func (s *Server) large(ctx context.Context, in []byte, st *netio.Stream) error {
	f := fields{b: in}
	r, _, err := s.rules(&f)
	if err != nil {
		return err
	}
	e, err := f.entry()
	if err == nil {
		err = checkPath(e.Path)
	}
	if err != nil {
		return err
	}
	if e.Kind != KindFile || len(f.b) > 0 || e.Path == "." {
		return wireError("large file of kind %v", e.Kind)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	key := newToken()
	u, err := s.begin(ctx, cancel, r, &e, key)
	if err != nil {
		return err
	}
	var now *attributes
	remove := false
	defer func() { s.end(u, e.Path, key, remove) }()
	out, records := newChunkWriter(st, CompressNone, nil), newChunkReader(st, nil)
	if err = out.record(recDone, key[:]); err == nil {
		err = out.flush()
	}
	if err != nil {
		return err
	}
	now, remove, err = finishOf(ctx, records)
	if err != nil || now == nil {
		return err
	}
	return u.part.commit(*now)
}

// finishOf waits for what the client wants in the end: attributes to finish with; nil: to go on later. Remove says that
// what is there is of no use any more.
func finishOf(ctx context.Context, records *chunkReader) (now *attributes, remove bool, err error) {
	type step struct {
		kind byte
		body []byte
		err  error
	}
	steps := make(chan step, 1)
	go func() { // ends with the stream
		kind, body, err := records.next()
		steps <- step{kind, body, err}
	}()
	var next step
	select {
	case <-ctx.Done():
		next.err = context.Cause(ctx)
	case next = <-steps:
	}
	switch {
	case next.err == io.EOF:
		return nil, false, nil
	case next.err != nil:
		return nil, errors.Is(next.err, netio.ErrCanceled), next.err
	case next.kind == recFailed:
		return nil, true, nil
	case next.kind != recEnd:
		return nil, true, wireError("record %q for a large file", next.kind)
	}
	a, err := parseAttributes(next.body)
	return &a, false, err
}

// begin opens the file, after taking it away from a transfer that had it: most likely that of a client that was killed,
// whose session is still remembered.
func (s *Server) begin(ctx context.Context, cancel context.CancelCauseFunc, r rules, e *Entry, key token) (*upload, error) {
	for {
		s.mu.Lock()
		old := s.uploads[e.Path]
		if old == nil {
			break
		}
		s.mu.Unlock()
		old.cancel(errTakenOver)
		select {
		case <-old.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if len(s.uploads) >= s.config.MaxUploads {
		s.mu.Unlock()
		return nil, errManyLarge
	}
	u := &upload{cancel: cancel, done: make(chan struct{})}
	s.uploads[e.Path], s.tokens[key] = u, u
	s.mu.Unlock()
	opened := false
	defer func() {
		if !opened {
			s.end(u, e.Path, key, false)
		}
	}()
	part, err := openPartial(s.root, r, e.Path, e.Size, e.Modified)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	u.part = part
	s.mu.Unlock()
	opened = true
	return u, nil
}

// end takes an upload out of the tables and closes its file.
func (s *Server) end(u *upload, p string, key token, remove bool) {
	s.mu.Lock()
	delete(s.tokens, key)
	s.mu.Unlock()
	if u.part != nil {
		u.part.close(remove)
	}
	s.mu.Lock()
	delete(s.uploads, p)
	s.mu.Unlock()
	close(u.done)
}

// takeRange takes a range of a large file. Its argument: the file's token, i64 offset, i64 length. It answers the hashes
// of the blocks that are there, and ends when the range has come.
func (s *Server) takeRange(ctx context.Context, in []byte, st *netio.Stream) error {
	f := fields{b: in}
	key := token(f.sum())
	offset, length := f.i64(), f.i64()
	if f.bad || len(f.b) > 0 {
		return wireError("range of %d bytes", len(in))
	}
	s.mu.Lock()
	u := s.tokens[key]
	var part *partial
	if u != nil {
		part = u.part
	}
	s.mu.Unlock()
	if part == nil {
		return &Error{"", CodeInUse, "no such large file is being put"}
	}
	if part.blocksOf(offset, length) < 0 {
		return wireError("range of %d bytes at %d", length, offset)
	}
	have, err := part.sums(offset, length)
	if err != nil {
		return err
	}
	var body []byte
	for _, one := range have {
		body = append(body, one[:]...)
	}
	out := newChunkWriter(st, CompressNone, nil)
	if err := out.record(recSums, body); err != nil {
		return err
	}
	if err := out.flush(); err != nil {
		return err
	}
	in2 := receiver{in: newChunkReader(st, nil)}
	failure, err := in2.span(part, offset, length)
	if err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	return nil
}
