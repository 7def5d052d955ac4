package fleet

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"shoal/netio"
)

// Map is Swarm.Map over the gateways of the fleet: each item goes to a gateway that reaches its target. The options are those of a
// swarm, but for Batch, which holds only where there is one gateway: items share frames as they come. An item that a gateway
// certainly did not run goes to another one; Result.Attempt counts that.
func (f *Fleet) Map(ctx context.Context, name string, items iter.Seq[[]byte], options *netio.MapOptions) iter.Seq2[netio.Result, error] {
	var o netio.MapOptions
	if options != nil {
		o = *options
	}
	if s := f.only(); s != nil || o.InFlight < 0 {
		if s == nil { // which says what is wrong
			s = f.anySwarm()
		}
		return s.Map(ctx, name, items, &o)
	}
	if o.InFlight == 0 {
		o.InFlight = 1 << 18
	}
	return func(yield func(netio.Result, error) bool) {
		run := &mapRun{f: f, name: name, options: o, ordered: o.Ordered, out: make(chan outcome, 256), feeds: map[*gateway]*feed{},
			stopped: make(chan struct{})}
		run.ctx, run.cancel = context.WithCancel(ctx)
		run.options.Ordered, run.options.Batch, run.options.Arrived = false, 1, nil
		run.working.Go(func() { run.pull(items) })
		run.working.Go(run.sendAgain)
		go func() { // ends with the run
			run.working.Wait()
			close(run.out)
		}()
		defer func() {
			run.cancel()
			close(run.stopped)
			for range run.out {
			}
			if run.panicked != nil {
				panic(run.panicked)
			}
		}()
		run.yieldAll(yield, o.Arrived)
	}
}

// only returns the swarm of the only gateway there is; nil where there may be more during the Map, or where a target decides.
func (f *Fleet) only() *netio.Swarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told || len(f.ranked) != 1 || f.config.Target != nil || f.config.Labels != nil || !f.ranked[0].up() || len(f.ranked[0].member.Reach) > 0 {
		return nil
	}
	return f.ranked[0].swarm
}

// anySwarm returns a swarm; there is one since Dial.
func (f *Fleet) anySwarm() *netio.Swarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ranked[slices.IndexFunc(f.ranked, func(g *gateway) bool { return g.swarm != nil })].swarm
}

// mapRun is one Map under way. One goroutine pulls the items and hands them to gateways; one hands out those that a gateway
// did not run; one for each gateway that is used takes its results. The caller's goroutine yields them.
type mapRun struct {
	f        *Fleet
	name     string
	options  netio.MapOptions // for the swarms
	ordered  bool
	ctx      context.Context
	cancel   context.CancelFunc
	out      chan outcome
	stopped  chan struct{} // closed when nobody takes results any more
	working  sync.WaitGroup
	panicked any // what the iterator of the items panicked with; set before out is closed

	mu      sync.Mutex // guards what follows
	feeds   map[*gateway]*feed
	again   []item        // to be handed to another gateway; bounded by InFlight
	open    int           // items pulled and not over
	ahead   int           // items pulled and not yielded
	pulled  bool          // no more items come
	changed chan struct{} // closed at the next change; nil: nobody waits for one
}

// item is one item of a Map.
type item struct {
	index    int
	body     []byte
	attempts int32
	tried    []*gateway
	last     *outcome // how it ended at the last of these
}

// outcome is how an item ended.
type outcome struct {
	netio.Result
	err error
}

// feed is what one gateway has of a Map.
type feed struct {
	g       *gateway
	items   chan item
	closing chan struct{} // closed when no more items come
	done    chan struct{} // closed when the gateway's Map takes no more items

	held map[int]item // by index in that Map; guarded by mapRun.mu
}

// change returns a channel that is closed at the next change. The caller holds mu.
func (r *mapRun) change() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// wake tells those who wait for a change. The caller holds mu.
func (r *mapRun) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// pull pulls the items.
func (r *mapRun) pull(items iter.Seq[[]byte]) {
	defer func() {
		r.panicked = recover()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pulled = true
		r.endIfOver()
		r.wake()
	}()
	index := 0
	for body := range items {
		if !r.admit() {
			return
		}
		r.hand(item{index: index, body: body})
		index++
	}
}

// admit waits until one more item may be under way. False means that no more are wanted.
func (r *mapRun) admit() bool {
	for {
		r.mu.Lock()
		if r.ctx.Err() != nil {
			r.mu.Unlock()
			return false
		}
		if r.ahead < r.options.InFlight {
			r.open++
			r.ahead++
			r.mu.Unlock()
			return true
		}
		changed := r.change()
		r.mu.Unlock()
		select {
		case <-changed:
		case <-r.ctx.Done():
		}
	}
}

// hand hands an item to a gateway, or ends it.
func (r *mapRun) hand(it item) {
	host := r.f.target(r.name, it.body)
	for {
		g, err := r.pick(host, it.tried)
		if err == nil && r.ctx.Err() != nil {
			g.inflight.Add(-1)
			err = &netio.TaskError{Subroutine: r.name, Status: netio.StatusOf(r.ctx.Err())}
		}
		if err != nil {
			if it.last != nil && r.ctx.Err() == nil { // how it ended says more than that there is nobody else
				r.over(*it.last)
				return
			}
			r.over(outcome{netio.Result{Index: it.index, Attempt: it.attempts}, err})
			return
		}
		d := r.feed(g)
		select {
		case d.items <- it:
			return
		case <-d.done: // it takes no more: another feed, or another gateway
			r.forget(d)
		}
		g.inflight.Add(-1)
	}
}

// pick returns a gateway for an item, which counts as under way there from now on.
func (r *mapRun) pick(host string, tried []*gateway) (*gateway, error) {
	for {
		r.mu.Lock()
		g, others, err := r.f.tryPick(host, tried, func(g *gateway) bool {
			d := r.feeds[g]
			return d == nil || len(d.held) < g.limit(max(1, r.f.config.Swarm.Connections))
		})
		var changed <-chan struct{}
		if g == nil && err == nil {
			changed = r.change()
		}
		r.mu.Unlock()
		if g != nil {
			g.inflight.Add(1)
			return g, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-others:
		case <-time.After(slowStart / 20): // limits grow with time
		case <-r.ctx.Done():
			return nil, &netio.TaskError{Subroutine: r.name, Status: netio.StatusOf(r.ctx.Err())}
		}
	}
}

// feed returns the feed of a gateway.
func (r *mapRun) feed(g *gateway) *feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.feeds[g]
	if d == nil {
		d = &feed{g: g, items: make(chan item), closing: make(chan struct{}), done: make(chan struct{}), held: map[int]item{}}
		r.feeds[g] = d
		r.working.Go(func() { r.run(d) })
	}
	return d
}

// forget makes the next item for a gateway begin a new feed.
func (r *mapRun) forget(d *feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.feeds[d.g] == d {
		delete(r.feeds, d.g)
	}
}

// run is the goroutine of a feed: it takes the results of one gateway.
func (r *mapRun) run(d *feed) {
	for result, err := range d.g.swarm.Map(r.ctx, r.name, r.handed(d), &r.options) {
		r.mu.Lock()
		it, known := d.held[result.Index]
		delete(d.held, result.Index)
		r.wake()
		r.mu.Unlock()
		if !known { // the options are not to be had: no item was handed over
			r.over(outcome{result, err})
			continue
		}
		d.g.inflight.Add(-1)
		if err == nil {
			d.g.took(result.Elapsed)
		}
		it.attempts += result.Attempt
		result.Index, result.Attempt = it.index, it.attempts
		ended := outcome{result, err}
		if err == nil || r.ctx.Err() != nil || !r.elsewhere(err) {
			r.over(ended)
			continue
		}
		r.f.refused(d.g, err)
		it.tried, it.last = append(it.tried, d.g), &ended
		r.mu.Lock()
		r.again = append(r.again, it)
		r.wake()
		r.mu.Unlock()
	}
}

// handed is the items of a gateway's Map. The last one that it does not take any more is handed out again.
func (r *mapRun) handed(d *feed) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		defer close(d.done)
		for index := 0; ; index++ {
			select {
			case it := <-d.items:
				r.mu.Lock()
				d.held[index] = it
				r.mu.Unlock()
				if !yield(it.body) {
					r.mu.Lock()
					delete(d.held, index)
					r.again = append(r.again, it)
					r.wake()
					r.mu.Unlock()
					d.g.inflight.Add(-1)
					return
				}
			case <-d.closing:
				return
			case <-r.ctx.Done():
				return
			}
		}
	}
}

// elsewhere reports whether an item that ended with err may run at another gateway.
func (r *mapRun) elsewhere(err error) bool {
	return NeverRan(err) || netio.StatusOf(err) == netio.StatusLost && r.options.OnRestart == netio.RestartRetry
}

// sendAgain hands items to other gateways that one did not run.
func (r *mapRun) sendAgain() {
	for {
		r.mu.Lock()
		again, over := r.again, r.pulled && r.open == 0
		r.again = nil
		changed := r.change()
		r.mu.Unlock()
		for _, it := range again {
			r.hand(it)
		}
		if len(again) > 0 {
			continue
		}
		if over {
			return
		}
		<-changed // every item ends, also where ctx does
	}
}

// over gives the caller how an item ended.
func (r *mapRun) over(o outcome) {
	select {
	case r.out <- o:
	case <-r.stopped:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.endIfOver()
}

// endIfOver closes the feeds once every item is over. The caller holds mu.
func (r *mapRun) endIfOver() {
	if !r.pulled || r.open > 0 {
		return
	}
	for g, d := range r.feeds {
		close(d.closing)
		delete(r.feeds, g)
	}
	r.wake()
}

// yieldAll yields what has ended, in the order of the items where that was asked for.
func (r *mapRun) yieldAll(yield func(netio.Result, error) bool, arrived func(netio.Result, error)) {
	early := map[int]outcome{}
	next := 0
	for o := range r.out {
		if arrived != nil {
			arrived(o.Result, o.err)
		}
		if !r.ordered {
			if !r.give(o, yield) {
				return
			}
			continue
		}
		early[o.Index] = o
		for o, ok := early[next]; ok; o, ok = early[next] {
			delete(early, next)
			next++
			if !r.give(o, yield) {
				return
			}
		}
	}
}

// give yields one result.
func (r *mapRun) give(o outcome, yield func(netio.Result, error) bool) bool {
	if !yield(o.Result, o.err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead--
	if r.ahead == r.options.InFlight-1 || r.ahead%64 == 0 {
		r.wake()
	}
	return true
}
