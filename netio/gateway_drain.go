package netio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"shoal/proto"
)

// Shutdown drains: new tasks, and those that have not begun, are refused as draining, what runs is finished, every answer
// leaves; then everything is closed and nil returned. When ctx ends first, the rest is cut off, and the error says what.
// It matches ErrStillRunning where subroutines have not returned although their callers have left, and names them. Lanes
// without a connection have until then to come back for their answers.
//
// A Shutdown of a gateway that another one drains, or that has ended, waits for the end and returns what the first does;
// when its ctx ends before, it returns the context's error and leaves the drain to the first.
func (g *Gateway) Shutdown(ctx context.Context) error {
	if !g.drain(ctx) {
		return g.waitStopped(ctx)
	}
	return g.stop(g.waitIdle(ctx))
}

// waitStopped waits for the end that somebody else brings about; nil where there never was a beginning.
func (g *Gateway) waitStopped(ctx context.Context) error {
	g.mu.Lock()
	stopped := g.stopped
	g.mu.Unlock()
	if stopped == nil {
		return nil
	}
	select {
	case <-stopped:
		return g.outcome
	default:
	}
	select {
	case <-stopped:
		return g.outcome
	case <-ctx.Done():
		return fmt.Errorf("another Shutdown still drains: %w", ctx.Err())
	}
}

// Close ends the gateway without draining, and cuts short a Shutdown that is under way.
func (g *Gateway) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if g.drain(ctx) {
		_ = g.stop(nil)
		return nil
	}
	g.mu.Lock()
	if g.state == gatewayDraining {
		select {
		case <-g.hurry:
		default:
			close(g.hurry)
		}
	}
	stopped := g.stopped
	g.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	return nil
}

// drain tells everybody that the end is near; false means that there is nothing to end or that it was told before.
func (g *Gateway) drain(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gatewayServing {
		return false
	}
	g.state = gatewayDraining
	g.draining.Store(true)
	close(g.drains)
	millis := uint32(1<<32 - 1)
	if deadline, ok := ctx.Deadline(); ok {
		millis = uint32(max(0, min(time.Until(deadline).Milliseconds(), 1<<32-1)))
	}
	for h := range g.handlers {
		h.control(func(dst []byte) []byte { return proto.AppendDrain(dst, millis) })
	}
	g.log.Info("gateway drains", "handlers", len(g.handlers), "running", g.pool.Stats().Running+g.pool.Stats().Held)
	return true
}

// waitIdle waits until no handler has anything under way. It looks rather than being told: the end of a gateway is no
// place that needs another signal on the path of each task.
func (g *Gateway) waitIdle(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if busy := g.busy(); len(busy) == 0 {
			return nil
		} else {
			select {
			case <-ctx.Done():
				return fmt.Errorf("drain cut short (%w): %s", ctx.Err(), busySummary(busy))
			case <-g.hurry:
				return fmt.Errorf("drain cut short (%w): %s", ErrClosed, busySummary(busy))
			case <-tick.C:
			}
			if n%8 == 0 {
				for _, h := range busy {
					h.askAck()
				}
			}
		}
	}
}

// busy returns the handlers that have something under way.
func (g *Gateway) busy() []*handler {
	g.mu.Lock()
	defer g.mu.Unlock()
	var busy []*handler
	for h := range g.handlers {
		if !h.idle() {
			busy = append(busy, h)
		}
	}
	return busy
}

// stop closes everything and waits until no goroutine of the gateway is left, but for subroutines that do not return. It
// returns what Shutdown does, of which err is how the drain went.
func (g *Gateway) stop(err error) error {
	g.mu.Lock()
	g.state = gatewayStopped
	close(g.stopping)
	for _, ln := range g.listeners {
		_ = ln.Close()
	}
	greeting := slices.Collect(maps.Keys(g.greeting))
	handlers := make([]*handler, 0, len(g.handlers))
	for h := range g.handlers {
		handlers = append(handlers, h)
	}
	g.mu.Unlock()
	for _, c := range greeting {
		if c.hello.Load() {
			c.refuse(g.goodbyeStops())
		} else {
			c.link.close()
		}
	}
	cutOff := unfinished(handlers)
	for _, h := range handlers {
		g.endHandler(h, g.goodbyeStops())
	}
	g.running.Wait()
	if g.engine != nil {
		g.engine.Stop()
	}
	left := g.waitReturned(cutOff)
	if left != nil {
		g.log.Warn("gateway leaves something behind", "error", left)
	}
	g.outcome = errors.Join(err, left)
	close(g.stopped)
	g.log.Info("gateway stopped", "tasks", g.counters.tasks.Load(), "panics", g.counters.panics.Load())
	return g.outcome
}

// goodbyeStops is the goodbye of a gateway that ends.
func (g *Gateway) goodbyeStops() *goodbyeError {
	return &goodbyeError{Code: proto.GoodbyeDraining, Text: "gateway stops", Successor: g.config.Successor}
}
