package files

import (
	"encoding/binary"
	"io"
	"io/fs"

	"github.com/zeebo/xxh3"

	"shoal/netio"
)

// appendRequest encodes what get is to send of one file, but for what follows with the flags.
func appendRequest(dst []byte, p string, want attributes, flags byte) []byte {
	dst = appendText(append(dst, flags), p)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(want.size))
	return binary.LittleEndian.AppendUint64(dst, uint64(want.modified))
}

// remoteFile reads a file at the gateway as it comes.
type remoteFile struct {
	path   string
	stream *netio.ClientStream
	in     *chunkReader
	hash   xxh3.Hasher
	open   bool // a block has begun whose hash has not come
	size   int64
	rest   []byte
	err    error // once it is over
}

func (r *remoteFile) Read(p []byte) (int, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill waits for content.
func (r *remoteFile) fill() error {
	for len(r.rest) == 0 {
		if r.err != nil {
			return r.err
		}
		r.err = r.next()
	}
	return nil
}

// next takes one record; an error is the end.
func (r *remoteFile) next() error {
	kind, body, err := r.in.expect()
	if err != nil {
		return remote(err)
	}
	switch kind {
	case recData:
		if !r.open {
			r.hash.Reset()
			r.open = true
		}
		_, _ = r.hash.Write(body)
		r.rest = body
		r.size += int64(len(body))
		return nil
	case recSum:
		if !r.open || string(body) != string(sumBytes(&r.hash)) {
			return &Error{r.path, CodeCorrupt, ""}
		}
		r.open = false
		return nil
	case recAgain:
		if r.size > 0 {
			return &Error{r.path, CodeChanged, ""} // the reader has what is to be forgotten
		}
		return nil
	case recFailed:
		return parseFailed(r.path, body)
	case recEnd:
		now, err := parseAttributes(body)
		if err == nil && (r.open || now.size != r.size) {
			err = &Error{r.path, CodeCorrupt, ""}
		}
		if err == nil {
			err = io.EOF
		}
		return err
	}
	return wireError("record %q in a file", kind)
}

// Close ends the reading, early or not.
func (r *remoteFile) Close() error {
	if r.err == nil || r.err == io.EOF {
		r.err = fs.ErrClosed
	}
	r.rest = nil
	r.stream.Abort()
	return nil
}
