package netio

import "io"

// chunkSize is how much of a body goes into one chunk.
const chunkSize = 64<<10 - 256

// Reader returns the stream's chunks as one run of bytes; their idents are dropped. It is used in place of Recv.
func (s *stream) Reader() io.Reader { return &streamReader{s: s} }

type streamReader struct {
	s    *stream
	rest []byte
}

func (r *streamReader) Read(p []byte) (int, error) {
	if err := r.more(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo makes io.Copy hand the chunks on without another copy.
func (r *streamReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := r.more(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(r.rest)
		total += int64(n)
		r.rest = r.rest[n:]
		if err != nil {
			return total, err
		}
	}
}

func (r *streamReader) more() error {
	for len(r.rest) == 0 {
		_, body, err := r.s.Recv()
		if err != nil {
			return err
		}
		r.rest = body
	}
	return nil
}

// Writer returns a writer that sends what is written as chunks of at most 64 KiB, their idents counting from 0. It is
// used in place of Send.
func (s *stream) Writer() io.Writer { return &streamWriter{s: s} }

type streamWriter struct {
	s     *stream
	ident int64
}

func (w *streamWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), w.s.chunkSize())
		if err := w.s.Send(w.ident, p[:n]); err != nil {
			return written, err
		}
		w.ident++
		written += n
		p = p[n:]
	}
	return written, nil
}

// chunkSize is the size that suits the peer.
func (s *stream) chunkSize() int {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	return min(chunkSize, s.lane.out.Limit()-256)
}
