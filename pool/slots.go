package pool

import "sync/atomic"

// slots counts who may run, in one word, so that a task becomes held, and its worker gets a new
// slot, in one atomic step: the slots in use are the low 32 bits, the held tasks the rest, signed.
// Slots in use that are not of held tasks are those of workers. A task that is released before its
// Run returns takes the held count below what is really held, even below zero, until then.
type slots struct {
	_     [64]byte // the word changes with every held task; what is beside it should not suffer
	word  atomic.Int64
	limit uint32 // never changes
	_     [64]byte
}

const oneHeld = 1 << 32

// take gets a slot for a worker; false: all are in use.
func (s *slots) take() bool {
	for {
		v := s.word.Load()
		if uint32(v) >= s.limit {
			return false
		}
		if s.word.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// give returns a worker's slot and says how many are still in use.
func (s *slots) give() uint32 {
	return uint32(s.word.Add(-1))
}

// hold leaves the worker's slot to its task and gets the worker another one; false: there is none.
func (s *slots) hold() bool {
	for {
		v := s.word.Load()
		n, took := v+oneHeld, false
		if uint32(v) < s.limit {
			n, took = n+1, true
		}
		if s.word.CompareAndSwap(v, n) {
			return took
		}
	}
}

// takeMore gets a worker that has a slot up to n more, and returns how many.
func (s *slots) takeMore(n int) int {
	for {
		v := s.word.Load()
		n := min(n, int(s.limit)-int(uint32(v)))
		if n <= 0 || s.word.CompareAndSwap(v, v+int64(n)) {
			return max(n, 0)
		}
	}
}

// settle follows a run of n tasks that had a slot each: those that are held keep theirs, the worker keeps one or, if all
// are held, gets another one; false: there is none. The rest is given back.
func (s *slots) settle(n, held int) (kept bool, used, given uint32) {
	if held < n {
		given = uint32(n - held - 1)
		return true, uint32(s.word.Add(int64(held)*oneHeld - int64(given))), given
	}
	for {
		v := s.word.Load()
		after, took := v+int64(held)*oneHeld, false
		if uint32(v) < s.limit {
			after, took = after+1, true
		}
		if s.word.CompareAndSwap(v, after) {
			return took, uint32(after), 0
		}
	}
}

// release returns the slot of a held task and says how many are still in use.
func (s *slots) release() uint32 {
	v := s.word.Add(-oneHeld - 1)
	if uint32(v) == ^uint32(0) {
		s.word.Add(oneHeld + 1)
		panic("pool: Release without a held task")
	}
	return uint32(v)
}

func (s *slots) used() uint32 { return uint32(s.word.Load()) }

func (s *slots) full() bool { return s.used() >= s.limit }

// load gives the slots of workers and of held tasks.
func (s *slots) load() (running, held int) {
	v := s.word.Load()
	held = int(v >> 32)
	return int(uint32(v)) - held, max(held, 0)
}
