package pool

import "time"

// idleTicks is how many ticks of the idle timer make an IdleTimeout.
const idleTicks = 4

// summon gives shard s a worker, with the slot that the caller took: the one that parked last, as
// its stack is still in the cache, or a new one.
func (p *Pool) summon(s *shard) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w.wake <- s
		return
	}
	if p.ended {
		p.mu.Unlock()
		s.waking.Store(false)
		p.slots.give()
		return
	}
	p.alive++
	p.mu.Unlock()
	w := &worker{pool: p, home: s.index, woken: s, wake: make(chan *shard, 1)}
	go w.run()
}

// pushIdle makes the worker available to summon; false: the pool has ended.
func (p *Pool) pushIdle(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	w.since = p.epoch
	p.idle = append(p.idle, w)
	if !p.armed {
		p.armed = true
		if p.ticker == nil {
			p.ticker = time.AfterFunc(p.idlePeriod, p.tick)
		} else {
			p.ticker.Reset(p.idlePeriod)
		}
	}
	return true
}

// awake is how many workers are not parked.
func (p *Pool) awake() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive - len(p.idle)
}

// tick retires the workers that have been idle for IdleTimeout. To count ticks costs a worker that
// parks nothing, where a look at the clock would.
func (p *Pool) tick() {
	p.mu.Lock()
	p.epoch++
	// The idle are in the order in which they parked. One that parked between two ticks has seen
	// part of its first, which therefore does not count.
	n := 0
	for n < len(p.idle) && p.epoch-p.idle[n].since > idleTicks {
		n++
	}
	retired := append([]*worker(nil), p.idle[:n]...)
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	if rest == 0 {
		p.idle = nil
	}
	p.armed = rest > 0 && !p.ended
	if p.armed {
		p.ticker.Reset(p.idlePeriod)
	}
	p.mu.Unlock()
	for _, w := range retired {
		w.wake <- nil
	}
}

// gone follows the end of a worker.
func (p *Pool) gone() {
	p.mu.Lock()
	p.alive--
	if p.ended && p.alive == 0 {
		close(p.done)
	}
	p.mu.Unlock()
}
