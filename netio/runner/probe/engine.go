package probe

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// engine is one scan under way. One goroutine, that of run, owns everything in it but the findings. It starts probes as
// the pacer lets it, waits for what the connector, the lookups and the service readers report, and puts each answer into
// the findings once.
type engine struct {
	plan *plan
	opts engineOptions
	conn connector
	pace *pacer
	out  *findings

	began    time.Time
	answered *tracker
	next     uint64 // the lowest position that was never taken up

	slots    []slot
	free     []int
	inFlight int // slots in use
	oldest   int // slots that wait for the network, in the order of their starts; -1: none
	newest   int

	retries retryQueue
	ready   []job // were parked, and their target has room
	parked  int
	targets map[uint64]*targetState
	names   *lookups
	own     map[netip.Addr]bool // addresses of this machine

	services chan serviceEnd
	ctx      context.Context // ends with run
	wanting  time.Duration   // since when every probe that ended did so for want of local means; 0: the last did not
	counted  Status
	reported time.Duration // when the status was put last
}

// engineOptions are a scan's numbers, checked and with their defaults.
type engineOptions struct {
	timeout   time.Duration
	patience  time.Duration // how long a probe is tried that this machine has no means for
	rate      float64
	fixedRate bool
	fanout    int
	perTarget int
	retries   int
	service   serviceOptions
	allow     func(netip.Addr) bool // nil: all
	budget    *budget               // nil: none
	lookup    func(ctx context.Context, name string) ([]netip.Addr, error)
}

// job is a position that is to be probed.
type job struct {
	position   uint64
	attempts   int           // starts so far
	losses     int           // of them, those that ended in a time-out
	firstLocal time.Duration // when the first one failed for want of local means; 0: none did
	delay      time.Duration // before it was tried again last
}

// slot is a probe in flight.
type slot struct {
	job
	target  uint64
	counted bool // in the target's state
	door    door
	resolved
	startedAt  time.Duration
	rate       float64
	confirming bool // this is the second connection of an open port of this machine
	reading    bool // a service reader has the connection
	older      int  // in the list of those that wait for the network
	newer      int
}

const (
	startsAtOnce = 64 // probes started before the loop looks for answers again
	maxParked    = 4096
	statusEvery  = time.Second
	budgetWait   = 10 * time.Millisecond
	firstDelay   = 20 * time.Millisecond
	longestDelay = 2 * time.Second
	maxSelf      = 5 // connections to itself after which a port of this machine is closed
	maxDoubt     = 4 // time-outs of a probe that are not believed, since there was loss
)

func newEngine(p *plan, answered *tracker, o engineOptions, c connector) *engine {
	e := &engine{plan: p, opts: o, conn: c, answered: answered, next: answered.low, oldest: -1, newest: -1,
		pace: newPacer(o.rate, o.fanout, o.timeout), targets: map[uint64]*targetState{}, own: ownAddresses(),
		services: make(chan serviceEnd, o.fanout)}
	if o.fixedRate {
		e.pace.fixed()
	}
	e.out = newFindings(c.wake)
	return e
}

// ownAddresses returns the addresses at which a probe could meet another probe's own port.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{netip.AddrFrom4([4]byte{127, 0, 0, 1}): true, netip.IPv6Loopback(): true}
	list, _ := net.InterfaceAddrs() // without them there are the two of loopback
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				own[addr.Unmap()] = true
			}
		}
	}
	return own
}

// run scans until every position has its answer, or ctx ends. It returns when nothing of the scan is under way any more.
func (e *engine) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	e.began, e.ctx = time.Now(), ctx
	e.names = newLookups(ctx, e.opts.lookup, e.conn.wake)
	defer e.out.end()
	defer e.conn.close()
	defer e.endWaits()
	defer cancel()
	defer context.AfterFunc(ctx, e.conn.wake)()
	for !e.answered.complete() {
		if err := ctx.Err(); err != nil {
			e.putStatus(e.now())
			return context.Cause(ctx)
		}
		wait := e.startDue()
		e.conn.wait(e.untilNext(wait), e.ended)
		e.takeServices()
		e.takeLookups()
		e.expire()
		if now := e.now(); now-e.reported >= statusEvery {
			e.putStatus(now)
		}
	}
	e.putStatus(e.now())
	return nil
}

// endWaits waits for the goroutines of lookups and services, whose context has ended, and gives the budget back.
func (e *engine) endWaits() {
	e.names.wait()
	for i := range e.slots {
		if e.slots[i].reading {
			<-e.services
		}
	}
	e.opts.budget.release(e.inFlight)
}

func (e *engine) now() time.Duration { return time.Since(e.began) }

// startDue starts what may start now, and returns how long the loop may wait.
func (e *engine) startDue() time.Duration {
	for range startsAtOnce {
		now := e.now()
		if e.inFlight+int(e.out.queued.Load()) >= e.roomForAnswers() {
			e.out.starved.Store(true)
			if e.inFlight+int(e.out.queued.Load()) >= e.roomForAnswers() {
				return waitForEnd
			}
		}
		if wait := e.pace.allow(now, e.inFlight); wait > 0 {
			return wait
		}
		if !e.opts.budget.acquire() {
			return budgetWait
		}
		j, ok := e.nextJob(now)
		if !ok || !e.begin(now, j) {
			e.opts.budget.release(1)
		}
		if !ok {
			return e.retries.until(now)
		}
	}
	return 0
}

// roomForAnswers bounds the answers that are in flight or not yet consumed.
func (e *engine) roomForAnswers() int { return 4096 + 2*e.opts.fanout }

// nextJob returns what is to be started next: what is tried again, what was parked, then the next position.
func (e *engine) nextJob(now time.Duration) (job, bool) {
	if j, ok := e.retries.pop(now); ok {
		return j, true
	}
	if n := len(e.ready); n > 0 {
		j := e.ready[n-1]
		e.ready = e.ready[:n-1]
		return j, true
	}
	for e.parked < maxParked && e.next < e.answered.total && e.next-e.answered.low < spread {
		position := e.next
		e.next++
		if !e.answered.has(position) {
			return job{position: position}, true
		}
	}
	return job{}, false
}

// begin takes a job up. It reports whether a slot, and with it a unit of the budget, is in use.
func (e *engine) begin(now time.Duration, j job) bool {
	target, d := e.plan.at(j.position)
	t := e.targets[target]
	if t != nil && (t.inFlight >= e.opts.perTarget || t.resolving) {
		e.park(t, j)
		return false
	}
	r, known := e.address(target, j)
	switch {
	case !known: // parked until the lookup ends
		return false
	case r.err != nil:
		e.nameFailed(now, j, r.err)
		return false
	case e.opts.allow != nil && !e.opts.allow(r.address):
		e.finish(j, NotTried, 0, &details{reason: "the gateway does not allow this address", address: r.address})
		return false
	}
	i := e.newSlot()
	j.attempts++
	e.slots[i] = slot{job: j, target: target, counted: e.enter(target), door: d, resolved: r, startedAt: now,
		rate: e.pace.started(j.losses == 0), older: -1, newer: -1}
	e.connect(i)
	return true
}

// connect starts the connection of a slot.
func (e *engine) connect(i int) {
	s := &e.slots[i]
	done, err := e.conn.start(i, s.door, s.address)
	if !done {
		e.appendWaiting(i)
		return
	}
	e.judge(i, err)
}

// ended takes the end of a connection from the connector.
func (e *engine) ended(i int, err error) {
	e.removeWaiting(i)
	e.judge(i, err)
}

// judge makes an answer of how a connection ended, or has it tried again.
func (e *engine) judge(i int, err error) {
	s, now := &e.slots[i], e.now()
	if err == errSelfConnect {
		if s.attempts >= maxSelf {
			e.settle(i, Closed, now-s.startedAt, "")
		} else {
			e.again(i, now)
		}
		return
	}
	answer, cause := verdict(err)
	if cause != notLocal {
		e.local(i, now, cause, err)
		return
	}
	e.wanting = 0
	e.pace.answer(now, s.startedAt, s.rate, s.losses == 0)
	if answer != Open || s.door == icmpDoor {
		e.settle(i, answer, now-s.startedAt, reason(answer, err))
		return
	}
	if s.door >= 1024 && !s.confirming && e.own[s.address.Unmap()] {
		// Two probes of which each has the other's port as its own connect to each other. They do not so twice.
		e.conn.drop(i)
		s.confirming, s.startedAt = true, now
		e.connect(i)
		return
	}
	if !e.opts.service.any() {
		e.conn.drop(i)
		e.settle(i, Open, now-s.startedAt, "")
		return
	}
	conn, err := e.conn.take(i)
	if err != nil {
		_, cause := verdict(err)
		e.local(i, now, max(cause, descriptors), err)
		return
	}
	e.readService(i, conn, now-s.startedAt)
}

// local has a probe tried again that this machine lacked the means for, until the patience is over.
func (e *engine) local(i int, now time.Duration, cause localCause, err error) {
	s := &e.slots[i]
	e.counted.LocalErrors++
	if s.losses == 0 && !s.reading {
		e.pace.withdrawn(s.startedAt)
	}
	if cause == permanent {
		e.settle(i, NotTried, 0, reason(NotTried, err))
		return
	}
	if s.firstLocal == 0 {
		s.firstLocal = now
	}
	if e.wanting == 0 {
		e.wanting = now
	}
	// Where no probe has had the means for so long, the others do not wait for as long one after another.
	if now-min(s.firstLocal, e.wanting) >= e.opts.patience {
		e.settle(i, NotTried, 0, reason(NotTried, err))
		return
	}
	e.pace.local(now, cause, e.inFlight-1)
	due := now
	if cause == traffic { // it may concern this target alone, and must not hold up the others
		s.delay = min(longestDelay, max(firstDelay, 2*s.delay))
		due += s.delay
	}
	e.again(i, due)
}

// again puts the probe of a slot among those that are tried again, and frees the slot.
func (e *engine) again(i int, due time.Duration) {
	e.counted.Retried++
	j := e.slots[i].job
	e.leave(i)
	e.retries.push(due, j)
}

// settle gives the probe of a slot its answer and frees the slot.
func (e *engine) settle(i int, a Answer, elapsed time.Duration, why string) {
	s := &e.slots[i]
	var more *details
	if s.named || why != "" || s.attempts > 1 {
		more = &details{reason: why, attempts: s.attempts, address: s.address}
	}
	j := s.job
	e.leave(i)
	e.finish(j, a, elapsed, more)
}

// finish gives a position its answer.
func (e *engine) finish(j job, a Answer, elapsed time.Duration, more *details) {
	e.answered.mark(j.position)
	e.out.put(finding{position: j.position, answer: a, elapsed: elapsed, more: more})
}

// expire ends what has waited for the time-out. What the connector has reported is taken before, so that a loop that was
// held up calls nothing filtered that has answered.
func (e *engine) expire() {
	now := e.now()
	for e.oldest >= 0 && now-e.slots[e.oldest].startedAt >= e.opts.timeout {
		i := e.oldest
		s := &e.slots[i]
		e.removeWaiting(i)
		e.conn.drop(i)
		s.losses++
		e.wanting = 0
		if s.losses <= e.opts.retries || s.losses <= maxDoubt && e.pace.inDoubt(s.startedAt) {
			e.again(i, now)
			continue
		}
		e.settle(i, Filtered, now-s.startedAt, "")
	}
}

// untilNext bounds a wait by the next time-out and the next status.
func (e *engine) untilNext(wait time.Duration) time.Duration {
	if e.answered.complete() {
		return 0
	}
	now := e.now()
	wait = min(wait, e.reported+statusEvery-now)
	if e.oldest >= 0 {
		wait = min(wait, e.slots[e.oldest].startedAt+e.opts.timeout-now)
	}
	return max(0, wait)
}

func (e *engine) putStatus(now time.Duration) {
	e.reported = now
	s := e.counted
	s.Elapsed, s.InFlight, s.Sockets, s.Rate = now, e.inFlight, int(e.pace.sockets), e.pace.rate
	e.out.setStatus(s)
}
