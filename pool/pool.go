package pool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// What a zero in Config, or a limit of zero for NewQueue, stands for.
const (
	DefaultWorkers     = 1024
	DefaultIdleTimeout = 10 * time.Second
	DefaultQueueLimit  = 4096
)

var (
	// ErrFull: the batch does not fit into what is left of the queue's limit; none of it was taken.
	ErrFull = errors.New("pool: queue full")
	// ErrClosed: the queue or its pool takes no more; none of the batch was taken.
	ErrClosed = errors.New("pool: closed")
	// ErrGoexit is what Batch.Panicked is told of a task that called runtime.Goexit.
	ErrGoexit = errors.New("pool: task called runtime.Goexit")
)

// Config says how large a pool is. Zero or negative values mean the default.
type Config struct {
	Workers     int           // how many tasks may run or be held at once; default 1024
	Shards      int           // how many independent locks the queues are spread over; default GOMAXPROCS
	IdleTimeout time.Duration // a worker idle this long retires (within a quarter of it more); default 10s
}

// Batch is work that enters the pool in one step; its tasks run one by one, and can wait side by
// side.
type Batch interface {
	// Len is the number of tasks, constant, at least 1. It is asked once, by Submit.
	Len() int
	// Run runs task i. It returns true if the task is held: it goes on without a goroutine and
	// keeps its slot until Pool.Release is called, exactly once, for it. Release may come before
	// Run returns.
	Run(i int) (held bool)
	// Panicked says that task i panicked with value, or called runtime.Goexit (value is
	// ErrGoexit). Its slot is freed when Panicked returns: a task that ends so is not held, and
	// must not be released. The stack belongs to the batch. A panic in here is swallowed.
	Panicked(i int, value any, stack []byte)
}

// QuickBatch is a Batch whose tasks are short and never block, so that a worker may claim several of them at once: that
// costs one step of the pool for all of them.
type QuickBatch interface {
	Batch
	// Grain is how many tasks may be claimed at once, 1 if none of this holds. It is asked once, by Submit.
	Grain() int
	// RunSome runs the n tasks from i on, in place of Run, and returns how many of them are held. It must not panic:
	// each of the n is then told as Panicked.
	RunSome(i, n int) (held int)
}

// Stats is a look at a pool. The figures are each exact, but not of the same instant.
type Stats struct {
	Workers  int    // goroutines alive
	Idle     int    // of these, parked
	Running  int    // slots of workers: tasks in Run, and workers that seek one
	Held     int    // slots of held tasks
	Queued   int    // tasks waiting in queues, paused ones too
	Started  uint64 // tasks ever begun
	Panicked uint64 // tasks ever ended by a panic or Goexit
}

// Pool runs the tasks of its queues on a bounded number of slots. Make one with New; its methods
// may be called from any goroutine.
type Pool struct {
	shards []*shard // fixed by New
	slots  slots

	processors int // GOMAXPROCS when the pool was made

	nextShard atomic.Uint32 // of the next queue
	turn      atomic.Uint32 // the shard that is served first when a slot comes free
	panicked  atomic.Uint64
	closing   atomic.Bool   // set when every shard refuses submits
	done      chan struct{} // closed when drained and the last worker has ended

	idlePeriod time.Duration // how often idle workers are looked at: IdleTimeout/idleTicks

	mu     sync.Mutex // guards the following
	idle   []*worker  // parked workers, the one that parked last at the end
	alive  int        // goroutines of workers
	ended  bool       // closed and drained: workers end instead of parking, none is started
	epoch  uint64     // ticks of the idle timer
	ticker *time.Timer
	armed  bool // ticker is running
}

// New makes a pool. It starts no goroutine: workers come with work.
func New(c Config) *Pool {
	if c.Workers <= 0 {
		c.Workers = DefaultWorkers
	}
	if c.Shards <= 0 {
		c.Shards = runtime.GOMAXPROCS(0)
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	p := &Pool{
		shards:     make([]*shard, c.Shards),
		processors: runtime.GOMAXPROCS(0),
		done:       make(chan struct{}),
		idlePeriod: max(c.IdleTimeout/idleTicks, time.Millisecond),
	}
	p.slots.limit = uint32(min(c.Workers, math.MaxInt32))
	for i := range p.shards {
		p.shards[i] = &shard{pool: p, index: i}
	}
	return p
}

// NewQueue makes a submitter's own queue, for at most limit waiting tasks (zero or less: 4096).
// A queue that is no longer wanted needs no Close; the pool does not know it while it is empty.
func (p *Pool) NewQueue(limit int) *Queue {
	if limit <= 0 {
		limit = DefaultQueueLimit
	}
	n := p.nextShard.Add(1) - 1
	return &Queue{shard: p.shards[n%uint32(len(p.shards))], limit: min(limit, math.MaxInt32)}
}

// Release gives back the slot of a held task. It panics if there is no slot to give back: some
// task was released twice, or released and not held.
func (p *Pool) Release() {
	p.freed(p.slots.release(), 1)
}

// freed follows slots given back; used is how many are left in use.
func (p *Pool) freed(used, given uint32) {
	if used+given >= p.slots.limit {
		// The pool was full, so wakers may have gone away for want of a slot.
		p.wakeAll()
	}
	if used == 0 && p.closing.Load() {
		p.endIfDrained()
	}
}

// Busy reports whether there are tasks that may start and slots for them: the workers keep the processors busy.
func (p *Pool) Busy() bool {
	for _, s := range p.shards {
		if s.ready.Load() {
			return !p.slots.full()
		}
	}
	return false
}

// Stats looks at the pool. It takes every lock once, so it is not for each task.
func (p *Pool) Stats() Stats {
	var st Stats
	p.mu.Lock()
	st.Workers, st.Idle = p.alive, len(p.idle)
	p.mu.Unlock()
	st.Running, st.Held = p.slots.load()
	for _, s := range p.shards {
		s.mu.Lock()
		n := s.spanned(nil)
		st.Queued += s.waiting + n
		st.Started += s.started - uint64(n)
		s.mu.Unlock()
	}
	st.Panicked = p.panicked.Load()
	return st
}

// Close makes the pool refuse new work with ErrClosed, waits until everything queued, running and
// held has ended, then ends all workers. If ctx ends first, its error is returned, wrapped; the
// pool stays closed, goes on with what it has, and ends its workers after it. Close may be called
// again, also to wait again. A paused queue keeps Close waiting until it is resumed or closed; a
// task that calls Close waits for itself, until ctx ends.
func (p *Pool) Close(ctx context.Context) error {
	for _, s := range p.shards {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
	p.closing.Store(true)
	p.endIfDrained()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-p.done:
		return nil
	default:
		st := p.Stats()
		return fmt.Errorf("pool: close: %d running, %d held, %d queued: %w",
			st.Running, st.Held, st.Queued, ctx.Err())
	}
}

// endIfDrained ends the workers of a closed pool that has nothing left to do. It is called after
// closing was set, and by whoever brings the slots in use to zero from then on.
func (p *Pool) endIfDrained() {
	// No shard takes more, so a count of zero stays zero; and a task that was claimed before we
	// looked has a slot. Hence the order: first the queues, then the slots.
	for _, s := range p.shards {
		s.mu.Lock()
		n := s.waiting + s.spanned(nil)
		s.mu.Unlock()
		if n > 0 {
			return
		}
	}
	if p.slots.used() > 0 {
		return
	}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	idle := p.idle
	p.idle = nil
	if p.ticker != nil {
		p.ticker.Stop()
	}
	if p.alive == 0 {
		close(p.done)
	}
	p.mu.Unlock()
	for _, w := range idle {
		w.wake <- nil
	}
}
