package main

import "sync"

// slots are the ids of the messages that may be in flight on one connection: one goroutine takes them, others hand them
// back.
type slots struct {
	mine []uint32      // the taker's alone
	wake chan struct{} // one slot: ids were handed back

	mu   sync.Mutex
	free []uint32
}

func newSlots() *slots { return &slots{wake: make(chan struct{}, 1)} }

// reset makes so many ids free. Nothing may be in flight.
func (s *slots) reset(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mine, s.free = s.mine[:0], s.free[:0]
	for id := range n {
		s.free = append(s.free, uint32(id))
	}
}

// takeAll takes what is free; the ids are valid until the next call.
func (s *slots) takeAll() []uint32 {
	s.mu.Lock()
	s.mine, s.free = s.free, s.mine[:0]
	s.mu.Unlock()
	return s.mine
}

// take takes one id, if one is free.
func (s *slots) take() (id uint32, ok bool) {
	if len(s.mine) == 0 && len(s.takeAll()) == 0 {
		return 0, false
	}
	last := len(s.mine) - 1
	id, s.mine = s.mine[last], s.mine[:last]
	return id, true
}

func (s *slots) give(ids ...uint32) {
	s.mu.Lock()
	s.free = append(s.free, ids...)
	s.mu.Unlock()
	s.wakeUp()
}

// wait returns when ids were handed back, or wakeUp was called, since it returned last.
func (s *slots) wait() { <-s.wake }

func (s *slots) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
