package netio

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shoal/proto"
)

// link is one connection: bytes in, bytes out. It is the only thing here that knows what carries the bytes; everything
// else would work over any engine. One goroutine, its owner's, runs readLoop, or a poller calls readOnce; one at a time
// calls write.
//
// A link that waits for bytes holds no buffer: it takes one when the socket is readable and gives it back when all of
// it has been consumed. So an idle connection costs a parked goroutine and little else, or with a poller not even that.
type link struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the connection has no descriptor: an in-memory pair, TLS

	in      *buffer // bytes that have arrived and are not consumed; nil: none
	readErr error
	read    func(fd uintptr) bool // tryRead, kept so that it is allocated once
	spin    *spinner              // nil: it waits at once

	part [][]byte // what write is at
	out  net.Buffers
	// When that began, 0 where nothing is written, and when the last long one ended; as monotonic has it.
	writingSince, lastTaken atomic.Int64

	trying [][]byte // what tryWrite is at, and how it went
	tried  int
	tryErr error
	try    func(fd uintptr) bool // tryWritev, kept so that it is allocated once

	mu     sync.Mutex // guards what follows
	closed bool
	over   bool          // nothing reads from it any more
	gone   chan struct{} // closed when over; nil: nobody has asked
	polled bool          // a poller reads: the descriptor stays open until it has let go
}

func newLink(conn net.Conn) *link {
	k := &link{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			k.raw = raw
			k.read = k.tryRead
			k.try = k.tryWritev
		}
	}
	return k
}

// close ends the connection; readLoop and write return. Safe for concurrent use and to call again.
func (k *link) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	if k.polled { // the poller finds the end of both directions, and lets go
		_ = k.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		return
	}
	_ = k.conn.Close()
}

// lastWordsTime bounds how long a connection is read from that takes no more.
const lastWordsTime = 5 * time.Second

// closeAfterReading ends a connection that takes no more. What the peer has said before it went is still to be read: a
// draining gateway's goodbye decides what is sent to the next one. A poller has what there is already.
func (k *link) closeAfterReading() {
	k.mu.Lock()
	polled := k.polled
	k.mu.Unlock()
	if polled || k.conn.SetReadDeadline(time.Now().Add(lastWordsTime)) != nil {
		k.close()
	}
}

// unpoll is called by the poller when it has let go of the connection.
func (k *link) unpoll() {
	k.free()
	k.mu.Lock()
	k.polled = false
	if k.closed {
		_ = k.conn.Close()
	}
	k.mu.Unlock()
	k.readingEnded()
}

// readingEnded tells who waits for it that nothing reads any more.
func (k *link) readingEnded() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	if k.gone != nil {
		close(k.gone)
	}
}

// ended returns a channel that is closed when nothing reads any more.
func (k *link) ended() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone == nil {
		k.gone = make(chan struct{})
		if k.over {
			close(k.gone)
		}
	}
	return k.gone
}

// free gives back what is left of the bytes that have arrived.
func (k *link) free() {
	if k.in != nil {
		k.in.free()
		k.in = nil
	}
}

// receiver is whom the bytes of a link are for. Receive gets all bytes that are there and are not consumed yet; it returns
// how many it has consumed, and how many the frame that follows needs in all (0: not known yet). The bytes are its own
// only during the call; an error ends the reading.
type receiver interface {
	receive(k *link, src []byte) (consumed, need int, err error)
}

// readLoop reads until the connection ends or r returns an error, and returns why.
func (k *link) readLoop(r receiver) error {
	defer k.readingEnded()
	defer k.free()
	for {
		if err := k.fill(); err != nil {
			return err
		}
		consumed, need, err := r.receive(k, k.in.b)
		if err != nil {
			return err
		}
		k.consume(consumed, need)
	}
}

// readOnce reads what the descriptor has now, for a poller, and passes it on as readLoop does.
func (k *link) readOnce(fd uintptr, r receiver) error {
	if !k.tryRead(fd) {
		return nil
	}
	if k.readErr != nil {
		return k.readErr
	}
	consumed, need, err := r.receive(k, k.in.b)
	if err != nil {
		return err
	}
	if k.consume(consumed, need); k.in != nil && len(k.in.b) == 0 {
		k.free()
	}
	return nil
}

// fill waits for bytes and appends them to k.in.
func (k *link) fill() error {
	if k.raw != nil {
		if err := k.raw.Read(k.read); err != nil {
			return err
		}
		return k.readErr
	}
	if k.in == nil {
		k.in = newBuffer(largeBuffer)
	}
	n, err := k.conn.Read(k.in.b[len(k.in.b):cap(k.in.b)])
	k.in.b = k.in.b[:len(k.in.b)+n]
	if n > 0 {
		return nil
	}
	return err
}

// tryRead reads what is there; false means that nothing is, and that the caller waits until something is.
func (k *link) tryRead(fd uintptr) bool {
	if k.readNow(fd) || k.spin.wait(func() bool { return k.readNow(fd) }) {
		return true
	}
	if len(k.in.b) == 0 {
		k.free()
	}
	return false
}

// readNow is one read, which does not wait. False means that there was nothing.
func (k *link) readNow(fd uintptr) bool {
	if k.in == nil {
		k.in = newBuffer(largeBuffer)
	}
	for {
		n, err := syscall.Read(int(fd), k.in.b[len(k.in.b):cap(k.in.b)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			k.readErr = err
		case n == 0:
			k.readErr = io.EOF
		default:
			k.in.b = k.in.b[:len(k.in.b)+n]
			k.readErr = nil
		}
		return true
	}
}

// consume drops what has been consumed and makes room for what follows: never more than twice what has arrived.
func (k *link) consume(consumed, need int) {
	rest := k.in.b[consumed:]
	if len(rest) == 0 {
		if k.raw == nil || cap(k.in.b) != largeBuffer {
			k.in.free()
			k.in = nil
			return
		}
		k.in.b = k.in.b[:0]
		return
	}
	size := min(max(need, proto.HeaderSize), max(2*len(rest), largeBuffer))
	if size <= cap(k.in.b) {
		k.in.b = k.in.b[:copy(k.in.b[:cap(k.in.b)], rest)]
		return
	}
	grown := newBuffer(size)
	grown.b = append(grown.b, rest...)
	k.in.free()
	k.in = grown
}

const (
	// portion is how much of a write a peer has to take in time, or it counts as stuck: a large frame on a slow line may be on
	// its way for long.
	portion = mostWrite
	// longWrite is how long a portion takes that has waited for the peer to take what came before; others seldom do.
	longWrite = 10 * time.Millisecond
)

// write writes all pieces and returns how many bytes of them the connection took. It uses them up.
func (k *link) write(pieces [][]byte) (total int64, err error) {
	defer k.writingSince.Store(0)
	for err == nil && len(pieces) > 0 {
		begun := monotonic()
		k.writingSince.Store(begun)
		var n int64
		k.part = firstBytes(k.part[:0], pieces, portion)
		if len(k.part) == 1 {
			var one int
			one, err = k.conn.Write(k.part[0])
			n = int64(one)
		} else {
			k.out = k.part
			n, err = k.out.WriteTo(k.conn)
		}
		clear(k.part)
		if now := monotonic(); n > 0 && now-begun > int64(longWrite) {
			k.lastTaken.Store(now)
		}
		total += n
		pieces = skip(pieces, int(n))
	}
	return total, err
}

// firstBytes appends to dst what makes up the first n bytes of the pieces.
func firstBytes(dst, pieces [][]byte, n int) [][]byte {
	for i := 0; i < len(pieces) && n > 0; i++ {
		dst = append(dst, pieces[i][:min(n, len(pieces[i]))])
		n -= len(pieces[i])
	}
	return dst
}

// stalled reports whether the peer has taken nothing for longer than timeout though there was something to write.
func (k *link) stalled(now int64, timeout time.Duration) bool {
	since := k.writingSince.Load()
	return since != 0 && timeout > 0 && now-since > int64(timeout)
}

// mostPieces is what the system takes in one write.
const mostPieces = 1024

// tryWrite writes what the socket takes at once, without waiting for it, and returns how many bytes that were.
func (k *link) tryWrite(pieces [][]byte) (int64, error) {
	if k.raw == nil {
		return 0, nil
	}
	k.trying, k.tried, k.tryErr = pieces[:min(len(pieces), mostPieces)], 0, nil
	err := k.raw.Write(k.try)
	k.trying = nil
	if err == nil {
		err = k.tryErr
	}
	return int64(k.tried), err
}

// tryWritev is what tryWrite does with the descriptor.
func (k *link) tryWritev(fd uintptr) bool {
	for {
		var n int
		var err error
		if len(k.trying) == 1 {
			n, err = syscall.Write(int(fd), k.trying[0])
		} else {
			n, err = unix.Writev(int(fd), k.trying)
		}
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			n, err = 0, nil
		}
		k.tried, k.tryErr = max(0, n), err
		return true
	}
}

// awaitEnd tells the peer that nothing more comes and waits for a moment until it has gone, as linger does, while
// readLoop goes on.
func (k *link) awaitEnd() {
	if half, ok := k.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		select {
		case <-k.ended():
		case <-time.After(lingerTime):
		}
	}
}

// lingerTime bounds how long a connection that is over is kept so that the peer can read the last words.
const lingerTime = 500 * time.Millisecond

// linger tells the peer that nothing more comes and drops what it still sends for a moment: closing with bytes unread
// would reset the connection, and the peer might never see the goodbye. The reader of the link must be the caller, or
// have ended.
func (k *link) linger() {
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = k.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, k.conn, 1<<20)
}
