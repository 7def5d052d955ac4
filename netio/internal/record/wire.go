package record

import (
	"net"
	"sync"
	"time"

	"shoal/netio/internal/session"
)

// wire is the net.Conn under a tls.Conn. During the handshake it is the connection; afterwards it is memory.
type wire struct {
	conn   net.Conn // nil: the handshake is over
	header []byte   // of the record that the handshake is reading
	left   int      // bytes of its payload that are not read

	in []byte // records to be opened; the reader's

	mu  sync.Mutex      // guards what follows: the answer to a key update is written by the reader
	out *session.Buffer // records to be sent; nil: none
}

// wouldBlock says that nothing is there now. It is temporary: crypto/tls lets the read be tried again.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing has arrived" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

func (w *wire) Read(p []byte) (int, error) {
	if w.conn != nil {
		return w.readHandshake(p)
	}
	if len(w.in) == 0 {
		return 0, errWouldBlock
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

// readHandshake reads no more than the end of the record's header or payload.
func (w *wire) readHandshake(p []byte) (int, error) {
	if w.left > 0 {
		n, err := w.conn.Read(p[:min(len(p), w.left)])
		w.left -= n
		return n, err
	}
	n, err := w.conn.Read(p[:min(len(p), headerSize-len(w.header))])
	if w.header = append(w.header, p[:n]...); len(w.header) == headerSize {
		w.left = int(w.header[3])<<8 | int(w.header[4])
		w.header = w.header[:0]
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if w.conn != nil {
		return w.conn.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out != nil && w.out.Room() < len(p) {
		grown := session.NewBuffer(len(w.out.B) + len(p))
		grown.B = append(grown.B, w.out.B...)
		w.out.Free()
		w.out = grown
	}
	if w.out == nil {
		size := len(p)
		if size > Burst/8 { // the first of many
			size = Burst + sealing
		}
		w.out = session.NewBuffer(size)
	}
	w.out.B = append(w.out.B, p...)
	return len(p), nil
}

// take returns what is to be sent.
func (w *wire) take() *session.Buffer {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out
	w.out = nil
	return out
}

func (w *wire) Close() error {
	if w.conn != nil {
		return w.conn.Close()
	}
	return nil
}

func (w *wire) LocalAddr() net.Addr {
	if w.conn != nil {
		return w.conn.LocalAddr()
	}
	return nil
}

func (w *wire) RemoteAddr() net.Addr {
	if w.conn != nil {
		return w.conn.RemoteAddr()
	}
	return nil
}

func (w *wire) SetDeadline(t time.Time) error {
	if w.conn != nil {
		return w.conn.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.conn != nil {
		return w.conn.SetReadDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.conn != nil {
		return w.conn.SetWriteDeadline(t)
	}
	return nil
}
