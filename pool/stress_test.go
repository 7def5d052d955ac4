package pool

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// chaos is a batch whose tasks each do one of many things, decided by the seed; every task notes
// that it ran and that it ended.
type chaos struct {
	s     *stress
	kinds []uint8
	ran   []atomic.Int32
}

// stress is one run of a pool under mixed load. active counts as the pool promises to: from the
// start of Run to its end or, for a held task, to its Release.
type stress struct {
	t      *testing.T
	pool   *Pool
	limit  int64
	active atomic.Int64
	most   atomic.Int64
	left   atomic.Int64
	later  chan int // held tasks to release
}

func (c *chaos) Len() int { return len(c.kinds) }

func (c *chaos) Run(i int) bool {
	s := c.s
	n := s.active.Add(1)
	if n > s.limit {
		s.t.Errorf("%d tasks active, limit %d", n, s.limit)
	}
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	c.ran[i].Add(1)
	switch c.kinds[i] {
	case 0: // released by somebody else, soon
		s.later <- i
		return true
	case 1: // released before Run returns
		s.active.Add(-1)
		s.left.Add(-1)
		s.pool.Release()
		return true
	case 2: // released by a goroutine of its own
		go s.release()
		return true
	case 3:
		time.Sleep(time.Duration(i%5) * 10 * time.Microsecond)
	case 4:
		runtime.Gosched()
	case 5:
		s.active.Add(-1)
		s.left.Add(-1)
		if i%2 == 0 {
			runtime.Goexit()
		}
		panic("chaos")
	}
	s.active.Add(-1)
	s.left.Add(-1)
	return false
}

func (c *chaos) Panicked(int, any, []byte) {}

func (s *stress) release() {
	s.active.Add(-1)
	s.left.Add(-1)
	s.pool.Release()
}

// TestStress seeks lost wake-ups and broken counts: small limits, many shards, all kinds of tasks
// from several submitters, which also pause, resume and close their queues.
func TestStress(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for range rounds {
		stressRound(t, rand.New(rand.NewPCG(rng.Uint64(), 0)))
		if t.Failed() {
			return
		}
	}
}

func stressRound(t *testing.T, rng *rand.Rand) {
	c := Config{Workers: 1 + rng.IntN(3), Shards: 1 + rng.IntN(8), IdleTimeout: time.Millisecond}
	if rng.IntN(4) == 0 {
		c.Workers = 20
	}
	p := New(c)
	if rng.IntN(2) == 0 {
		p = newGrabbing(c)
	}
	s := &stress{t: t, pool: p, limit: int64(c.Workers), later: make(chan int, 10_000)}
	submitters, tasks := 1+rng.IntN(4), 200+rng.IntN(400)
	s.left.Store(int64(submitters * tasks))
	stop := make(chan bool)
	go func() {
		defer close(stop)
		for range s.later {
			s.release()
		}
	}()

	var wg sync.WaitGroup
	batches := make([][]*chaos, submitters)
	for k := range submitters {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() { batches[k] = s.submitter(rng, tasks) })
	}
	wg.Wait()

	// No submit comes any more that could cover up a lost wake-up.
	deadline := time.Now().Add(10 * time.Second)
	for s.left.Load() > 0 {
		if time.Now().After(deadline) {
			t.Errorf("%+v: stuck: %d left, %+v", c, s.left.Load(), s.pool.Stats())
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
	shut(t, s.pool)
	close(s.later)
	<-stop
	for _, bs := range batches {
		for _, b := range bs {
			for i := range b.ran {
				if n := b.ran[i].Load(); n != 1 {
					t.Errorf("%+v: a task ran %d times", c, n)
				}
			}
		}
	}
	if st := s.pool.Stats(); st.Started != uint64(submitters*tasks) {
		t.Errorf("%+v: %+v, want %d started", c, st, submitters*tasks)
	}
}

// submitter submits tasks in batches of random sizes, through queues that it changes now and then.
func (s *stress) submitter(rng *rand.Rand, tasks int) (batches []*chaos) {
	q := s.pool.NewQueue(100)
	for tasks > 0 {
		n := min(1+rng.IntN(1+rng.IntN(40)), tasks)
		b := &chaos{s: s, kinds: make([]uint8, n), ran: make([]atomic.Int32, n)}
		for i := range b.kinds {
			b.kinds[i] = uint8(rng.IntN(12))
		}
		for q.Submit(b) != nil {
			q.Resume()
			time.Sleep(20 * time.Microsecond)
		}
		batches = append(batches, b)
		tasks -= n
		switch rng.IntN(20) {
		case 0:
			q.Pause()
		case 1:
			q.Resume()
		case 2:
			q.Close()
			q = s.pool.NewQueue(100)
		case 3:
			time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
		}
	}
	q.Resume()
	return batches
}

// TestSlotLimitIsReached: the limit is not only kept but used, with held and blocking tasks alike.
func TestSlotLimitIsReached(t *testing.T) { bothWays(t, testSlotLimitIsReached) }

func testSlotLimitIsReached(t *testing.T, New func(Config) *Pool) {
	const limit = 7
	p := New(Config{Workers: limit, Shards: 3})
	s := &stress{pool: p}
	gate := make(chan bool)
	var over atomic.Int64
	for range 6 {
		submit(t, p.NewQueue(100), &funcs{n: 100, run: func(i int) bool {
			n := s.active.Add(1)
			if n > limit {
				over.Add(1)
			}
			if i%3 == 0 {
				go func() { <-gate; s.release() }()
				return true
			}
			<-gate
			s.active.Add(-1)
			return false
		}})
	}
	for range 600 { // one ends at a time, another must come
		for s.active.Load() < limit && p.Stats().Queued > 0 {
			runtime.Gosched()
		}
		gate <- true
	}
	shut(t, p)
	if over.Load() > 0 {
		t.Errorf("limit exceeded %d times", over.Load())
	}
}
