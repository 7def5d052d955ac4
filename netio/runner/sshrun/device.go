package sshrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"shoal/netio/runner"
)

// device is one target and its connections.
type device struct {
	runner *Runner
	key    string
	s      *settings

	mu      sync.Mutex // guards what follows
	conns   []*connection
	dialing *attempt      // nil: no connection is being made
	full    bool          // a further connection could not be made: the ones that are there have to do
	changed chan struct{} // closed, and made anew, when a place may have become free
}

// attempt is a connection that is being made, and that requests wait for.
type attempt struct {
	done    chan struct{} // closed when conn or failed is set
	conn    *connection
	failed  *failure
	waiting int // requests; guarded by the device's mu
	cancel  context.CancelFunc
	progress
}

// progress is how far an attempt has come.
type progress struct {
	mu      sync.Mutex // guards what follows
	stage   runner.Stage
	entered time.Time
	took    map[runner.Stage]time.Duration
}

func (p *progress) enter(s runner.Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.took == nil {
		p.took = map[runner.Stage]time.Duration{}
	}
	if p.stage != runner.StageNone {
		p.took[p.stage] += now.Sub(p.entered)
	}
	p.stage, p.entered = s, now
}

func (p *progress) at() runner.Stage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage
}

// into notes in a record what the attempt went through.
func (p *progress) into(rec *runner.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := runner.StageResolve; s < p.stage; s++ {
		if took, ok := p.took[s]; ok {
			rec.Went(s, took)
		}
	}
	if p.stage != runner.StageNone {
		rec.Went(p.stage, time.Since(p.entered))
	}
}

// place is a connection that a request uses. Give it back with leave.
type place struct {
	conn    *connection
	session bool
}

// device returns the device of these settings. One without connections and requests is forgotten by leave.
func (r *Runner) device(s *settings) *device {
	key := strings.ToLower(s.alias) + "\x00" + s.user + "\x00" + s.port + "\x00" + strings.Join(s.jumps, ",")
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[key]
	if d == nil {
		d = &device{runner: r, key: key, s: s, changed: make(chan struct{})}
		r.devices[key] = d
	}
	return d
}

// take returns a place on a connection, with session one that may open a session. What it waited for is noted in rec, if
// there is one.
func (d *device) take(ctx context.Context, timeout time.Duration, rec *runner.Record, session bool) (*place, *failure) {
	for {
		d.mu.Lock()
		if p := d.freePlace(session); p != nil {
			d.mu.Unlock()
			return p, nil
		}
		if d.dialing == nil && len(d.conns) < d.runner.config.Connections && !(d.full && len(d.conns) > 0) {
			if !d.dial(timeout) {
				d.mu.Unlock()
				return nil, ended(d.runner.ended)
			}
		}
		a, changed := d.dialing, d.changed
		var done chan struct{}
		if a != nil {
			a.waiting++
			done = a.done
		}
		d.mu.Unlock()

		select {
		case <-done:
			others := d.leaveAttempt(a)
			if a.failed != nil && others {
				continue // they have to do
			}
			if rec != nil {
				a.into(rec)
			}
			if a.failed != nil {
				return nil, a.failed
			}
		case <-changed: // not leaveAttempt: it is joined again, or has found its use
			d.mu.Lock()
			if a != nil {
				a.waiting--
			}
			d.mu.Unlock()
		case <-ctx.Done():
			f := ended(ctx)
			f.stage = runner.StageStart
			if a != nil {
				f.stage = a.at()
				if rec != nil {
					a.into(rec)
				}
			} else {
				f.err = fmt.Errorf("no session became free: %w", f.err)
			}
			d.leaveAttempt(a)
			return nil, f
		}
	}
}

// freePlace returns a place on a connection that has one, the fullest first, so that others can go idle. The caller holds mu.
func (d *device) freePlace(session bool) *place {
	var best *connection
	for _, c := range d.conns {
		if !c.dead && (!session || c.sessions < c.limit) && (best == nil || c.sessions > best.sessions) {
			best = c
		}
	}
	if best == nil {
		return nil
	}
	best.users++
	if session {
		best.sessions++
	}
	if best.idle != nil {
		best.idle.Stop()
		best.idle = nil
	}
	return &place{conn: best, session: session}
}

// dial begins to make a connection; false: the runner is closed. The caller holds mu.
func (d *device) dial(timeout time.Duration) bool {
	ctx, cancel := context.WithCancel(d.runner.ended)
	a := &attempt{done: make(chan struct{}), cancel: cancel}
	d.dialing = a
	if d.runner.ended.Err() != nil {
		cancel()
		d.dialing = nil
		return false
	}
	d.runner.work.Go(func() {
		defer cancel()
		conn, failed := d.runner.dial(ctx, d, timeout, &a.progress)
		d.mu.Lock()
		a.conn, a.failed = conn, failed
		if d.dialing == a {
			d.dialing = nil
			d.full = conn == nil
		}
		if conn != nil {
			d.conns = append(d.conns, conn)
			d.keepIdle(conn)
		}
		if conn != nil && ctx.Err() != nil && d.runner.ended.Err() != nil {
			defer conn.close() // Close may have looked before it was there
		}
		close(a.done)
		d.wake()
		d.mu.Unlock()
		d.forgetIfUnused()
	})
	return true
}

// leaveAttempt stops waiting for an attempt, and reports whether there are connections. An attempt that nobody waits for is
// given up.
func (d *device) leaveAttempt(a *attempt) (others bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a != nil {
		if a.waiting--; a.waiting == 0 && d.dialing == a {
			a.cancel()
			d.dialing = nil // nobody is to join it
		}
	}
	return len(d.conns) > 0
}

// wake lets those look again who wait for a place. The caller holds mu.
func (d *device) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// leave gives a place back. Refused says that the device has refused a session there: so many as there are now it has.
func (p *place) leave(refused bool) {
	c, d := p.conn, p.conn.device
	d.mu.Lock()
	defer d.mu.Unlock()
	c.users--
	if p.session {
		c.sessions--
		if refused {
			c.limit = max(1, min(c.limit, c.sessions))
		}
	}
	if c.users == 0 && c.dead {
		d.runner.work.Go(c.close)
	}
	d.keepIdle(c)
	d.wake()
}

// distrust lets no further request take a connection whose device has not answered; it is closed when nobody uses it.
func (c *connection) distrust() {
	c.device.mu.Lock()
	defer c.device.mu.Unlock()
	c.dead = true
}

// alone reports whether the place is the only session of its connection.
func (p *place) alone() bool {
	p.conn.device.mu.Lock()
	defer p.conn.device.mu.Unlock()
	return p.conn.sessions == 1
}

// keepIdle sees to it that a connection which nobody uses is closed after a while. The caller holds mu.
func (d *device) keepIdle(c *connection) {
	if c.users == 0 && !c.dead && c.idle == nil {
		c.idle = time.AfterFunc(d.runner.config.Idle, func() {
			d.mu.Lock()
			unused := c.users == 0
			c.dead = c.dead || unused // nobody takes it any more
			d.mu.Unlock()
			if unused {
				c.close()
			}
		})
	}
}

// lost takes a connection out that has ended.
func (d *device) lost(c *connection) {
	d.mu.Lock()
	c.dead = true
	if c.idle != nil {
		c.idle.Stop()
	}
	for i, other := range d.conns {
		if other == c {
			d.conns = append(d.conns[:i], d.conns[i+1:]...)
			break
		}
	}
	d.wake()
	d.mu.Unlock()
	d.forgetIfUnused()
}

// forgetIfUnused takes a device out of the runner's map that has no connection. A request that holds it all the same makes a
// connection of its own.
func (d *device) forgetIfUnused() {
	d.runner.mu.Lock()
	defer d.runner.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.conns) == 0 && d.dialing == nil && d.runner.devices[d.key] == d {
		delete(d.runner.devices, d.key)
	}
}

// closeAll closes every connection.
func (d *device) closeAll() {
	d.mu.Lock()
	conns := append([]*connection{}, d.conns...)
	d.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

var errClosedByDevice = errors.New("the device closed the connection")
