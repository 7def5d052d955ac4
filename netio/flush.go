package netio

import (
	"errors"
	"runtime"
	"syscall"
)

// How a lane is flushed: one goroutine at a time, that which has set flushing, takes what has been appended and writes
// it, until there is nothing left. What is appended while it writes goes out with its next write, so a burst is one
// write, and a single frame waits for nothing.

// startFlush makes sure that somebody writes what is in the outbox, and soon. The caller holds mu.
func (l *lane) startFlush() {
	if l.claimFlush() {
		go l.flush()
	}
}

// claimFlush reports whether the caller has become the one who flushes. The caller holds mu.
func (l *lane) claimFlush() bool {
	if l.flushing || l.link == nil {
		return false
	}
	l.flushing = true
	return true
}

// flush writes until there is nothing left, and waits for the socket where it must. It lets those go first who are
// ready to run: they may be about to append.
func (l *lane) flush() {
	runtime.Gosched()
	l.mu.Lock()
	for {
		k, control := l.takeRound()
		if k == nil {
			break
		}
		l.mu.Unlock()
		n, err := k.write(l.pieces)
		l.mu.Lock()
		if !l.endRound(k, n, control, err) {
			break
		}
	}
	gone := l.endFlush()
	l.mu.Unlock()
	l.tellDetached(gone)
}

// flushHere writes once, on the goroutine of the caller, who has claimed the flush and does not hold mu. It does not
// wait: what the socket does not take at once, and what is appended meanwhile, is left to a goroutine.
func (l *lane) flushHere() {
	l.mu.Lock()
	k, control := l.takeRound()
	if k == nil {
		gone := l.endFlush()
		l.mu.Unlock()
		l.tellDetached(gone)
		return
	}
	l.mu.Unlock()
	n, err := k.tryWrite(l.pieces)
	if err == nil {
		if rest := skip(l.pieces, int(n)); len(rest) > 0 {
			go l.flushRest(k, rest, n, control)
			return
		}
	}
	l.mu.Lock()
	if l.endRound(k, n, control, err) && l.out.Waiting() {
		l.mu.Unlock()
		go l.flush()
		return
	}
	gone := l.endFlush()
	l.mu.Unlock()
	l.tellDetached(gone)
}

// flushRest goes on with a round of which n bytes are written.
func (l *lane) flushRest(k *link, rest [][]byte, n int64, control int) {
	more, err := k.write(rest)
	l.mu.Lock()
	if !l.endRound(k, n+more, control, err) {
		gone := l.endFlush()
		l.mu.Unlock()
		l.tellDetached(gone)
		return
	}
	l.mu.Unlock()
	l.flush()
}

// takeRound moves what is to be written next to l.pieces; control is how much of it is control frames. A nil link means
// that there is nothing to write, or nothing to write to. A goodbye is the last thing that is written. The caller holds mu.
func (l *lane) takeRound() (k *link, control int) {
	if l.link == nil || l.link.deaf.Load() && !l.out.Parting() {
		return nil, 0
	}
	l.pieces, control = l.out.Take(l.pieces[:0], mostWrite, l.in.Received())
	if len(l.pieces) == 0 {
		return nil, 0
	}
	return l.link, control
}

// endRound records what was written. False means that the connection is broken: its reader finds out and detaches. The
// caller holds mu.
func (l *lane) endRound(k *link, n int64, control int, err error) bool {
	l.lastSent.Store(monotonic())
	clear(l.pieces)
	l.out.Wrote(int(n), control)
	if err != nil {
		l.out.DropGoodbye()
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			k.closeAfterReading()
		} else {
			k.close()
		}
		return false
	}
	l.spaceChanged()
	return true
}

// endFlush lets the next one flush. A link that was to be let go of is now, and is returned: its owner is to be told without
// mu, which the caller holds.
func (l *lane) endFlush() (gone *link) {
	l.flushing = false
	l.flushed.Broadcast()
	if k := l.link; k != nil && l.letGo() {
		return k
	}
	return nil
}

// tellDetached tells the owner that its link is gone, if it is.
func (l *lane) tellDetached(gone *link) {
	if gone != nil {
		l.owner.detached(gone)
	}
}

// skip returns the pieces without their first n bytes.
func skip(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}
