package netio

import (
	"context"
	"time"
)

// CallInfo is what an interceptor sees of a call, a stream or a send.
type CallInfo struct {
	Subroutine string
	Shape      Shape
	Body       []byte // the argument; valid during the call
	Remote     string // the client's address, at the gateway
	Peer       Peer   // the client, at the gateway
}

// Invoker goes on with a call.
type Invoker func(ctx context.Context, c *CallInfo) ([]byte, error)

// Interceptor stands around a call: it may look at it, refuse it, change it, time it, or call next more than once. It
// is the same kind at both ends. The result of a stream is empty. It returns after next has, not before: what next uses is
// gone then. At the client, OpenStream, Streams and Duplex are not intercepted: what they return outlives the call. At the
// gateway a CallFunc gets the context that the interceptor passes on; Task.Context is the call's own.
type Interceptor func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error)

// intercept runs last inside all interceptors, the first outermost.
func intercept(ctx context.Context, all []Interceptor, c *CallInfo, last Invoker) ([]byte, error) {
	if len(all) == 0 {
		return last(ctx, c)
	}
	return all[0](ctx, c, func(ctx context.Context, c *CallInfo) ([]byte, error) {
		return intercept(ctx, all[1:], c, last)
	})
}

// interceptedAtOnce bounds the items of a Map that are under way inside interceptors: each has a goroutine there.
const interceptedAtOnce = 1024

// call sends one item of a Map through the swarm's interceptors. It waits for one of a bounded number of goroutines.
func (m *mapRun) call(t outgoing) {
	m.calling <- struct{}{}
	m.callers.Go(func() {
		defer func() { <-m.calling }()
		ctx := WithRestart(m.ctx, m.options.OnRestart)
		if m.options.Key != nil {
			fields, err := m.keyed(t)
			if err != nil {
				m.add(mapResult{Result{Index: t.index}, err})
				return
			}
			ctx = context.WithValue(ctx, outgoingFieldsKey, fields)
		}
		if m.options.Timeout > 0 {
			timed, cancel := context.WithTimeout(ctx, m.options.Timeout)
			defer cancel()
			ctx = timed
		}
		start := monotonic()
		body, err := m.swarm.Call(ctx, m.name, t.body)
		now := monotonic()
		r := mapResult{Result{Index: t.index, Body: body, Elapsed: time.Duration(now - start), ended: now, Attempt: 1 + m.retries.tried(t.index)}, err}
		if err == nil {
			m.retries.over(t.index)
		} else if m.retries.again(t, r) {
			return
		}
		m.add(r)
	})
}

// runCall runs task i of a batch on this goroutine, inside the gateway's interceptors if there are any.
func (g *Gateway) runCall(b *batch, i int) ([]byte, error) {
	t, sub := &b.tasks[i], b.sub
	if len(g.config.Interceptors) == 0 {
		return sub.call(t.ctx, t.body)
	}
	info := &CallInfo{Subroutine: sub.info.Name, Shape: ShapeCall, Body: t.body, Remote: t.b.h.peer(), Peer: PeerFrom(t.context())}
	return intercept(t.context(), g.config.Interceptors, info, func(ctx context.Context, c *CallInfo) ([]byte, error) {
		if sub.call != nil {
			return sub.call(ctx, c.Body)
		}
		t.body, t.hook = c.Body, make(chan outcome, 1)
		if sub.batch != nil {
			sub.batch([]Task{t.begin()})
		} else {
			sub.task(t.begin())
		}
		o := <-t.hook
		t.hook = nil
		return o.result, o.err
	})
}

// runOpen runs the subroutine of a stream, inside the gateway's interceptors if there are any.
func (g *Gateway) runOpen(s *Stream, sub *subroutine, argument []byte) ([]byte, error) {
	if len(g.config.Interceptors) == 0 {
		return sub.open(s.ctx, argument, s)
	}
	info := &CallInfo{Subroutine: sub.info.Name, Shape: sub.info.Shape, Body: argument, Remote: RemoteAddr(s.ctx), Peer: PeerFrom(s.ctx)}
	return intercept(s.ctx, g.config.Interceptors, info, func(ctx context.Context, c *CallInfo) ([]byte, error) {
		return sub.open(ctx, c.Body, s)
	})
}
