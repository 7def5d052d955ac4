package netio

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// link is one connection: bytes in, bytes out. At a gateway an event loop hands it what has arrived (arrived); at a client
// a goroutine reads it (readLoop). One goroutine at a time writes: the flusher of its lane.
//
// A link that waits for bytes holds no buffer. It keeps what is left of a frame until the rest has come, with room for no
// more than twice what is there.
type link struct {
	deaf  atomic.Bool // what arrives is dropped: nothing is handled any more
	mute  atomic.Bool // the peer was silent for too long
	turns bool        // an event loop reads it: what arrives is handled in turns; set by open

	in   *session.Buffer // bytes that have arrived and are not consumed; nil: none; the reader's
	need int             // bytes that in has to hold before there is a frame; 0: not known; the reader's

	part [][]byte // the pieces of one write; the writer's
	// When the write under way began, 0 where there is none, and when the last one ended that had to wait; as monotonic has it.
	writingSince, lastTaken atomic.Int64

	mu      sync.Mutex // guards what follows
	carrier carrier    // nil: the event loop has not taken it yet
	closed  bool
	over    bool          // nothing reads from it any more
	ended   chan struct{} // closed when over; nil: nobody has asked
}

// carrier carries the bytes of a link: a connection of the engine, or a net.Conn.
type carrier interface {
	// TryWrite writes what goes without waiting.
	TryWrite(pieces [][]byte) (int, error)
	// Write writes everything, and uses pieces up.
	Write(pieces [][]byte) (int64, error)
	// SetWriteDeadline bounds Write, also one that is under way.
	SetWriteDeadline(at time.Time)
	// CloseWrite tells the peer that nothing more comes.
	CloseWrite() error
	// Close ends the connection. What reads it finds the end.
	Close()
}

// turner is a carrier whose bytes come by an event loop, in turns.
type turner interface{ AskTurn() }

// open gives the link what carries it. A link that was closed before closes it.
func (k *link) open(c carrier) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.carrier = c
	_, k.turns = c.(turner)
	if k.closed {
		c.Close()
	}
}

// close ends the connection: what reads it finds the end, and writes return. Safe for concurrent use and to call again.
func (k *link) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed && k.carrier != nil {
		k.carrier.Close()
	}
	k.closed = true
}

// setWriteDeadline bounds what is written from now on, and what is being written.
func (k *link) setWriteDeadline(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.carrier != nil {
		k.carrier.SetWriteDeadline(at)
	}
}

// closeWrite tells the peer that nothing more comes; false means that it cannot be told so.
func (k *link) closeWrite() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.carrier != nil && k.carrier.CloseWrite() == nil
}

// isOver reports whether nothing reads from it any more.
func (k *link) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// readingEnded is called by what reads, at its end.
func (k *link) readingEnded() {
	k.free()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	k.over = true
	if k.ended != nil {
		close(k.ended)
	}
}

// whenEnded returns a channel that is closed when nothing reads any more.
func (k *link) whenEnded() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended == nil {
		k.ended = make(chan struct{})
		if k.over {
			close(k.ended)
		}
	}
	return k.ended
}

// receiver is whom the bytes of a link are for. Receive gets all bytes that are there and are not consumed yet; it returns
// how many it has consumed, and how many the frame that follows needs in all (0: not known yet). The bytes are its own
// only during the call; an error ends the reading.
type receiver interface {
	receive(k *link, src []byte) (consumed, need int, err error)
}

// mostBehind bounds what has arrived and waits for a turn: a peer that keeps to its windows has less under way.
const mostBehind = 32 << 20

// arrived passes on what has arrived, with what was left before. Src is the caller's. Where whole frames are left it asks
// for another turn.
func (k *link) arrived(src []byte, r receiver) error {
	if k.deaf.Load() {
		k.free()
		return nil
	}
	if k.in == nil && len(src) == 0 {
		return nil
	}
	if k.in == nil {
		consumed, need, err := r.receive(k, src)
		if err == nil && consumed < len(src) {
			k.keep(src[consumed:], need)
			k.askTurn()
		}
		return err
	}
	k.keep(src, k.need)
	if len(k.in.B) < k.need {
		return nil
	}
	if len(k.in.B) > max(mostBehind, 2*k.need) {
		return fmt.Errorf("%w: %d bytes wait to be expanded", errSlow, len(k.in.B))
	}
	consumed, need, err := r.receive(k, k.in.B)
	if err != nil {
		return err
	}
	rest := k.in.B[consumed:]
	if len(rest) == 0 {
		k.free()
		return nil
	}
	k.need = need
	k.in.B = k.in.B[:copy(k.in.B, rest)]
	k.askTurn()
	return nil
}

// askTurn asks the event loop for another turn if there is a whole frame.
func (k *link) askTurn() {
	if k.need == 0 || len(k.in.B) < k.need {
		return
	}
	if t, ok := k.carrier.(turner); ok {
		t.AskTurn()
	}
}

// keep appends to what is left of a frame of which need bytes are to come in all.
func (k *link) keep(src []byte, need int) {
	k.need = need
	if k.in != nil && k.in.Room() >= len(src) {
		k.in.B = append(k.in.B, src...)
		return
	}
	have := len(src)
	if k.in != nil {
		have += len(k.in.B)
	}
	grown := session.NewBuffer(max(have, min(max(need, proto.HeaderSize), 2*have)))
	if k.in != nil {
		grown.B = append(grown.B, k.in.B...)
		k.in.Free()
	}
	grown.B = append(grown.B, src...)
	k.in = grown
}

// free gives back what is left of the bytes that have arrived.
func (k *link) free() {
	if k.in != nil {
		k.in.Free()
		k.in = nil
	}
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
		n, err = k.carrier.Write(k.part)
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

// tryWrite writes what the connection takes without waiting, and returns how many bytes that were.
func (k *link) tryWrite(pieces [][]byte) (int64, error) {
	n, err := k.carrier.TryWrite(pieces)
	return int64(n), err
}

// stalled reports whether the peer has taken nothing for longer than timeout though there was something to write.
func (k *link) stalled(now int64, timeout time.Duration) bool {
	since := k.writingSince.Load()
	return since != 0 && timeout > 0 && now-since > int64(timeout)
}

// lingerTime bounds how long a connection that is over is kept so that the peer can read the last words: closing it with
// bytes unread would reset it, and the peer might never see the goodbye.
const lingerTime = 500 * time.Millisecond

// awaitEnd tells the peer that nothing more comes and waits for a moment until it has gone, while something else reads.
func (k *link) awaitEnd() {
	if k.closeWrite() {
		select {
		case <-k.whenEnded():
		case <-time.After(lingerTime):
		}
	}
}

// sayLast writes one frame as the last of a connection that carries no lane, and closes it once the peer has had time to read
// it.
func (k *link) sayLast(frame []byte) {
	k.mu.Lock()
	opened := k.carrier != nil
	k.mu.Unlock()
	if !opened { // it is on its way to its event loop
		k.close()
		return
	}
	k.setWriteDeadline(time.Now().Add(lingerTime))
	time.AfterFunc(lingerTime, k.close)
	pieces := [][]byte{frame}
	if n, err := k.tryWrite(pieces); n > 0 || err != nil {
		k.sayNoMore()
		return
	}
	go func() { // only a write that may wait can tell; the deadline ends it
		_, _ = k.write(pieces)
		k.sayNoMore()
	}()
}

// sayNoMore tells the peer that nothing more comes, or closes a connection where that cannot be told.
func (k *link) sayNoMore() {
	if !k.closeWrite() {
		k.close()
	}
}
