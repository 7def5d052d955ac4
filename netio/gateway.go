package netio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"shoal/netio/internal/engine"
	"shoal/pool"
	"shoal/proto"
)

// Gateway listens for swarms and runs subroutines for them. The zero value has the default configuration. A gateway serves
// once. All methods are safe for concurrent use.
type Gateway struct {
	given GatewayConfig // by NewGateway, as it is

	subroutines registry
	draining    atomic.Bool
	counters    counters
	early       tally // tasks answered before their subroutine's end, since the start: cancelled, timed out or cut off
	streaming   tally // streams whose subroutine has not returned
	refusals    logLimit
	once        onceTable

	// Set by Start, not changed afterwards.
	config GatewayConfig
	log    *slog.Logger
	life   proto.ID
	pool   *pool.Pool
	timers []timers
	engine *engine.Engine // nil: connections are read by goroutines

	mu            sync.Mutex // guards what follows
	state         gatewayState
	listeners     []net.Listener
	urls          []string
	handlers      map[*handler]struct{}
	sessions      map[sessionKey]*handler
	greeting      map[*connection]struct{} // connections that have no handler yet
	away          awayLanes                // handlers without a connection
	nextTimers    int                      // for the next handler
	drains        chan struct{}            // closed when the gateway begins to drain
	stopping      chan struct{}            // closed when the end begins
	stopRequested chan struct{}            // closed when a client asked for the end
	hurry         chan struct{}            // closed when Close cuts a drain short
	stopped       chan struct{}            // closed at the very end
	outcome       error                    // what Shutdown returns; set before stopped is closed

	running sync.WaitGroup // listeners, connections, handlers and the sweeper
}

// counters are totals and gauges of a gateway.
type counters struct {
	tasks   atomic.Int64
	panics  atomic.Int64
	streams atomic.Int64 // running now
}

// gatewayState is where a gateway is in its one life: idle, then serving (Start), then draining (Shutdown: nothing new
// is taken, what runs is finished), then stopped (all connections and goroutines have ended).
type gatewayState int

const (
	gatewayIdle gatewayState = iota
	gatewayServing
	gatewayDraining
	gatewayStopped
)

// sessionKey names one lane of one client's session.
type sessionKey struct {
	session proto.ID
	lane    uint16
	owner   string // identity of the client
}

// NewGateway returns a gateway with this configuration. Start checks it.
func NewGateway(c GatewayConfig) *Gateway { return &Gateway{given: c} }

// ListenAndServe starts the gateway and serves until ctx ends or a client stops it; then it drains, for
// GatewayConfig.DrainTimeout at most, and returns nil if everything that ran was answered.
func (g *Gateway) ListenAndServe(ctx context.Context) error {
	if err := g.Start(); err != nil {
		return err
	}
	return g.serveUntil(ctx)
}

// serveUntil serves until ctx ends or a client stops the gateway, then drains.
func (g *Gateway) serveUntil(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-g.StopRequested():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.config.DrainTimeout)
	defer cancel()
	return g.Shutdown(drain)
}

// Serve is ListenAndServe on listeners of the caller's, in place of GatewayConfig.Listen. The gateway closes them, also
// where it returns an error. Connections of TCP and unix sockets are read by event loops, others (of a tls.Listener, say) by a
// goroutine each.
func (g *Gateway) Serve(ctx context.Context, listeners ...net.Listener) error {
	if err := g.StartOn(listeners...); err != nil {
		return err
	}
	return g.serveUntil(ctx)
}

// Start binds every address and serves in the background until Shutdown or Close. When it fails nothing is bound.
func (g *Gateway) Start() error { return g.start(nil) }

// StartOn is Start on listeners of the caller's, in place of GatewayConfig.Listen. The gateway closes them, also where it
// returns an error.
func (g *Gateway) StartOn(listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return fmt.Errorf("nothing to serve on: give a listener: %w", ErrBadURL)
	}
	err := g.start(listeners)
	if err != nil {
		closeAll(listeners)
	}
	return err
}

// start serves on the listeners; nil: on those of the configuration.
func (g *Gateway) start(listeners []net.Listener) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gatewayIdle {
		return fmt.Errorf("gateway was started before: %w", ErrClosed)
	}
	config, err := g.given.settle()
	if err != nil {
		return err
	}
	if listeners == nil {
		if listeners, err = listenAll(config.Listen); err != nil {
			return err
		}
	}
	loops, err := engine.Start(config.Logger, runtime.GOMAXPROCS(0))
	if err != nil {
		closeAll(listeners)
		return err
	}
	g.listeners = listeners
	for _, ln := range listeners {
		scheme := ln.Addr().Network()
		if _, inTLS := ln.(tlsListener); inTLS {
			scheme = "tls"
		}
		g.urls = append(g.urls, scheme+"://"+ln.Addr().String())
	}
	g.serve(config, loops)
	return nil
}

// serve makes a gateway of what listens. Without an engine, a goroutine reads each connection. The caller holds mu.
func (g *Gateway) serve(config GatewayConfig, loops *engine.Engine) {
	g.config, g.log, g.life, g.engine = config, config.Logger, newID(), loops
	g.once.keep = int64(config.SessionTimeout)
	g.pool = pool.New(pool.Config{Workers: config.Workers})
	g.timers = make([]timers, runtime.GOMAXPROCS(0))
	g.handlers = map[*handler]struct{}{}
	g.sessions = map[sessionKey]*handler{}
	g.greeting = map[*connection]struct{}{}
	g.drains = make(chan struct{})
	g.stopping = make(chan struct{})
	g.stopRequested = make(chan struct{})
	g.hurry = make(chan struct{})
	g.stopped = make(chan struct{})
	g.registerBuiltins()
	g.state = gatewayServing
	for _, ln := range g.listeners {
		g.running.Add(1)
		go g.accept(ln)
	}
	g.running.Add(1)
	go g.sweep()
	g.log.Info("gateway serves", "listen", g.urls, "workers", config.Workers, "max_handlers", config.MaxHandlers)
}

// URLs returns the addresses that the gateway listens on, with the ports it was given.
func (g *Gateway) URLs() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.urls...)
}

// StopRequested returns a channel that is closed when a client, where GatewayConfig.AllowStop lets it, asks for the end.
// Call it after Start.
func (g *Gateway) StopRequested() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopRequested
}

// Draining returns a channel that is closed when the gateway begins to drain: a stream that has no end of its own should end then,
// since a drain waits for it. Call it after Start.
func (g *Gateway) Draining() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drains
}

// requestStop is what the built-in stop does.
func (g *Gateway) requestStop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.stopRequested:
	default:
		close(g.stopRequested)
	}
}

// Stats says what a gateway does right now, and its totals.
type Stats struct {
	Handlers int   // connections, and lanes that wait for theirs
	Running  int   // tasks in their subroutine
	Held     int   // tasks that wait without a goroutine
	Queued   int   // tasks that wait for a worker
	Streams  int   // running streams
	Tasks    int64 // taken since the start
	Panics   int64 // since the start
}

// Stats returns counters, at any time after Start.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	handlers, p := len(g.handlers), g.pool
	g.mu.Unlock()
	if p == nil {
		return Stats{}
	}
	s := p.Stats()
	return Stats{Handlers: handlers, Running: s.Running, Held: s.Held, Queued: s.Queued,
		Streams: int(g.counters.streams.Load()), Tasks: g.counters.tasks.Load(), Panics: g.counters.panics.Load()}
}

// goodbyeFull is the goodbye of a gateway that has no room.
func (g *Gateway) goodbyeFull(text string) *goodbyeError {
	return &goodbyeError{Code: proto.GoodbyeFull, Text: text, RetryAfter: g.config.RetryAfter}
}

// busyError is how a gateway that has no room refuses a task or a stream.
func (g *Gateway) busyError(text string) *StatusError {
	return &StatusError{Status: proto.StatusBusy, Text: text, RetryAfter: g.config.RetryAfter}
}

var errHandlersFull = errors.New("as many connections as the gateway may have")
