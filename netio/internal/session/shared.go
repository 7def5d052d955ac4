package session

import (
	"fmt"
	"sync/atomic"

	"shoal/proto"
)

// Shared is the flow control of all streams of a lane together, at one end, beside that of each. Zero, it bounds nothing. The
// lane's lock guards it, but for the methods that say otherwise.
type Shared struct {
	window  int          // credit that the peer has in all; 0: no bound; it does not change
	allowed int          // credit that the peer has left
	owed    atomic.Int64 // consumed, and not given back yet
	limited bool         // the peer has named a bound for us
	credit  int          // what it lets us send
}

// Offer sets the credit that the peer has in all, above 0, before the lane begins.
func (s *Shared) Offer(window int) { s.window, s.allowed = window, window }

// Begin begins a lane for which the peer has named a credit, or has not.
func (s *Shared) Begin(credit uint32, limited bool) {
	s.credit, s.limited = int(credit), limited
	s.allowed = s.window
	s.owed.Store(0)
}

// Bounds reports whether the peer has a bound. It needs no lock.
func (s *Shared) Bounds() bool { return s.window > 0 }

// CanSend reports whether a chunk may be sent, of any size.
func (s *Shared) CanSend() bool { return !s.limited || s.credit > 0 }

// Sent records that a chunk with a body of size bytes was sent.
func (s *Shared) Sent(size int) {
	if s.limited {
		s.credit -= ChunkCost(size)
	}
}

// Arrived records that a chunk with a body of size bytes has come. False means that the peer had no credit for it.
func (s *Shared) Arrived(size int) bool {
	if s.window == 0 {
		return true
	}
	if s.allowed <= 0 {
		return false
	}
	s.allowed -= ChunkCost(size)
	return true
}

// Gained records credit that the peer has given.
func (s *Shared) Gained(bytes int) error {
	switch {
	case !s.limited:
		return fmt.Errorf("%w: credit for a lane that has only that of its streams", proto.ErrMalformed)
	case s.credit+bytes > maxCredit:
		return fmt.Errorf("%w: %d bytes of credit of a lane", proto.ErrMalformed, s.credit+bytes)
	}
	s.credit += bytes
	return nil
}

// Consumed records bytes of chunks that take up no memory any more. True means that it is time to Give. It needs no lock.
func (s *Shared) Consumed(bytes int) bool {
	return s.window > 0 && s.owed.Add(int64(bytes)) >= int64(max(1, s.window/2))
}

// Give returns the credit to give back now; 0: none yet.
func (s *Shared) Give() uint32 {
	if !s.Consumed(0) {
		return 0
	}
	bytes := min(s.owed.Load(), 1<<32-1)
	s.owed.Add(-bytes)
	s.allowed += int(bytes)
	return uint32(bytes)
}
