package files

import (
	"context"
	"encoding/binary"
	"io"
)

// chunkStream is either end of a stream.
type chunkStream interface {
	Send(ident int64, body []byte) error
	Recv() (ident int64, body []byte, err error)
	Context() context.Context
}

// chunkWriter packs records into chunks and sends these on a stream. Content is read straight into the chunk that will
// carry it. One goroutine uses it.
type chunkWriter struct {
	stream chunkStream
	buf    []byte // cap chunkSize
	packer packer
	pace   *pace
}

func newChunkWriter(s chunkStream, c Compression, p *pace) *chunkWriter {
	return &chunkWriter{stream: s, buf: make([]byte, 0, chunkSize), packer: packer{mode: c}, pace: p}
}

// flush sends what has been packed.
func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	ident, body := w.packer.pack(w.buf)
	if err := w.pace.wait(w.stream.Context(), len(body)); err != nil {
		return err
	}
	err := w.stream.Send(ident, body)
	w.buf = w.buf[:0]
	return err
}

// room makes sure that a record of so many bytes fits into the chunk.
func (w *chunkWriter) room(size int) error {
	if header+size > chunkSize-len(w.buf) {
		return w.flush()
	}
	return nil
}

// record packs a record; its body is at most recordMax bytes.
func (w *chunkWriter) record(kind byte, body []byte) error {
	if err := w.room(len(body)); err != nil {
		return err
	}
	w.buf = append(w.buf, kind)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(body)))
	w.buf = append(w.buf, body...)
	return nil
}

func (w *chunkWriter) failed(err *Error) error {
	text := err.reason()
	body := binary.LittleEndian.AppendUint16(nil, uint16(err.Code))
	return w.record(recFailed, append(body, text[:min(len(text), maxPath)]...))
}

// free returns where the next record of content may be read to, at most most bytes; data packs what was read there.
func (w *chunkWriter) free(most int64) ([]byte, error) {
	const worthIt = 4 << 10 // a smaller piece waits for the next chunk
	if chunkSize-len(w.buf)-header < int(min(most, worthIt)) {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	start := len(w.buf) + header
	return w.buf[start:min(int64(chunkSize), int64(start)+most)], nil
}

func (w *chunkWriter) data(size int) {
	w.buf = append(w.buf, recData)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(size))
	w.buf = w.buf[:len(w.buf)+size]
}

// chunkReader takes the chunks of a stream apart. One goroutine uses it.
type chunkReader struct {
	stream chunkStream
	rest   []byte
	packer packer
	pace   *pace
}

func newChunkReader(s chunkStream, p *pace) *chunkReader { return &chunkReader{stream: s, pace: p} }

// next returns the next record; body is valid until the next call. At the end of the stream the error is io.EOF.
func (r *chunkReader) next() (kind byte, body []byte, err error) {
	for len(r.rest) == 0 {
		ident, chunk, err := r.stream.Recv()
		if err != nil {
			return 0, nil, err
		}
		if err := r.pace.wait(r.stream.Context(), len(chunk)); err != nil {
			return 0, nil, err
		}
		if r.rest, err = r.packer.unpack(ident, chunk); err != nil {
			return 0, nil, err
		}
	}
	if len(r.rest) < header {
		return 0, nil, wireError("record header of %d bytes", len(r.rest))
	}
	size := uint64(binary.LittleEndian.Uint32(r.rest[1:]))
	if size > uint64(len(r.rest)-header) {
		return 0, nil, wireError("record of %d bytes, %d left in its chunk", size, len(r.rest)-header)
	}
	kind, body = r.rest[0], r.rest[header:header+size:header+size]
	r.rest = r.rest[header+size:]
	return kind, body, nil
}

// expect is next where the stream must not end.
func (r *chunkReader) expect() (kind byte, body []byte, err error) {
	kind, body, err = r.next()
	if err == io.EOF {
		err = wireError("end of stream where more is due")
	}
	return kind, body, err
}

// entry reads an entry record.
func (r *chunkReader) entry() (Entry, error) {
	kind, body, err := r.next()
	if err != nil {
		return Entry{}, err
	}
	if kind != recEntry {
		return Entry{}, wireError("record %q in a list", kind)
	}
	f := fields{b: body}
	return f.entry()
}
