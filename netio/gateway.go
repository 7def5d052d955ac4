package netio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio/internal/engine"
	"shoal/pool"
	"shoal/proto"
)

// GatewayConfig is what a gateway can be told. Zero means the default, everywhere.
type GatewayConfig struct {
	Listen []string // URLs, tcp://host:port (port 0: any free one), tls://host:port or unix:///path; default DefaultURL

	Workers     int // tasks that run or wait at once; default 1024
	MaxHandlers int // connections, and lanes that wait for theirs; default 9/10 of the descriptor limit

	Window       int   // unanswered tasks of one connection; default 65536
	WindowBytes  int64 // bytes of the bodies of these; default 64 MiB
	FrameLimit   int   // bytes of the largest frame taken; default 4 MiB
	SendBuffer   int   // unacknowledged bytes kept for one connection before its work is held back; default 8 MiB
	Streams      int   // open streams of one connection, and aborted ones whose subroutine has not returned; default 4096
	MaxStreams   int   // the same of all; default 65536
	StreamCredit int   // bytes that a client may send on a stream before they are consumed; default 512 KiB
	// ConnectionCredit is the same of all streams of one connection together. Where it is short, streams that are not read hold up
	// the others of their client. Default: no such bound.
	ConnectionCredit int

	HandshakeTimeout time.Duration // for the first frame of a connection; default 10 s
	IdleTimeout      time.Duration // a connection silent for longer is closed (clients ping); default 60 s
	WriteTimeout     time.Duration // a peer that reads nothing for longer is cut off; default 30 s
	SessionTimeout   time.Duration // how long a lane without a connection is remembered; default 60 s
	RetryAfter       time.Duration // what clients are told to wait that find no room (ErrFull, ErrBusy); default 250 ms
	DrainTimeout     time.Duration // how long ListenAndServe waits for running tasks at its end; default 30 s

	// Successor is the URL of the gateway to which clients go when this one drains. Default: they come back to the address that
	// they were given.
	Successor string

	// Compress is how what is sent is compressed where it shrinks and the client wants it. Clients may compress too then, either
	// way. Default none: compressed frames are neither sent nor taken.
	Compress     Compression
	AllowStop    bool          // clients may stop the gateway
	Interceptors []Interceptor // around each subroutine, the first outermost
	Logger       *slog.Logger  // default: none

	// TLS is for tls:// addresses, which need it: TLS 1.3 alone, without session tickets. It needs a certificate, or a function
	// that gives one; what it asks of clients' certificates is up to it.
	TLS *tls.Config

	// Authenticate says who a client is that has said hello, before Admit is asked. An error refuses it, as Admit's does. A
	// session belongs to the identity that began it: to another one it does not exist. It runs as Admit does. Default: nobody has
	// an identity.
	Authenticate func(ctx context.Context, c Client) (identity string, err error)

	// Authorize is asked about each frame of tasks and each stream, before anything of it runs; an error refuses them with
	// ErrNotAllowed and its text. It is called on event loops: it must not block, and neither change nor keep p. Default:
	// everything is allowed.
	Authorize func(p *Peer, subroutine string, shape Shape) error

	// Admit is asked about each connection that has said hello, before it is welcome. An error refuses it: the client gets its
	// text, and gives up with ErrNotAllowed, or tries again where the error matches ErrFull or ErrDraining. It runs on a
	// goroutine of its own; the context ends after HandshakeTimeout, and with the connection. Default: everybody is welcome.
	Admit func(ctx context.Context, c Client) error
}

// Client is what a gateway knows of a connection that asks to be welcome.
type Client struct {
	RemoteAddr string // of a unix socket without a name, the gateway's own
	Peer       Peer   // its Identity is set when Admit is asked
	Resumes    bool   // it says that it goes on with a lane that this gateway knows
	Credential []byte // SwarmConfig.Credential of the client; nil: it gives none
}

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

// goodbyeStops is the goodbye of a gateway that ends.
func (g *Gateway) goodbyeStops() *goodbyeError {
	return &goodbyeError{Code: proto.GoodbyeDraining, Text: "gateway stops", Successor: g.config.Successor}
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
