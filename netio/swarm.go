package netio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"shoal/proto"
)

// SwarmConfig is what a swarm can be told. Zero means the default, everywhere.
type SwarmConfig struct {
	Connections int // to keep to the gateway; default 4
	// Wait is how long Dial goes on trying to reach a gateway; default: one try. Above zero, tasks that a draining
	// gateway refuses also wait, until GiveUp, for the gateway that comes up at the same address.
	Wait time.Duration

	DialTimeout time.Duration // for one try: connection and handshake; default 5 s
	Heartbeat   time.Duration // a connection is pinged when silent for so long, and given up after three times; default 15 s
	MinBackoff  time.Duration // before the first try to reconnect; doubles with each, with jitter; default 20 ms
	MaxBackoff  time.Duration // the longest; default 2 s
	GiveUp      time.Duration // a connection away for longer: its tasks end as lost; default 60 s, at least Wait

	OnRestart RestartPolicy // what becomes of tasks with unknown outcome when the gateway restarted; default RestartReport
	NoSession bool          // do without resuming: what is under way when a connection ends, even by a drain, ends as lost

	FrameLimit   int // bytes of the largest frame taken; default 4 MiB
	SendBuffer   int // unacknowledged bytes kept for one connection before callers wait; default 8 MiB
	StreamCredit int // bytes that a subroutine may send on a stream before they are consumed, at first: see Stream; default 512 KiB
	// ConnectionCredit is the same of all streams of one connection together. Where it is short, streams that are not read hold up
	// the others. Default: no such bound.
	ConnectionCredit int
	// Compress is how what is sent is compressed where it shrinks and the gateway wants it. The gateway may compress too then,
	// either way. Default none: compressed frames are neither sent nor taken.
	Compress Compression

	// Credential is what GatewayConfig.Admit gets to know the client by, at most 2048 bytes. It crosses the wire as it is, with
	// each connection. Default: none.
	Credential []byte

	// TLS is for tls:// addresses: TLS 1.3 alone. Where it names no server, the gateway's certificate has to be for the host of the
	// address. Default: what the system trusts, and no certificate of the client's own.
	TLS *tls.Config

	Interceptors []Interceptor // around each call, the first outermost
	Logger       *slog.Logger  // default: none

	// Dial opens each connection, to the network ("tcp" or "unix") and address of the swarm's URL. The context ends after
	// DialTimeout. The swarm closes the connection. Default: a net.Dialer without keep-alive, since heartbeats do better.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// OnConnection is told what happens to the connections, each on a goroutine of its own: it may be called by several at once.
	// A connection goes on when it returns, so it should not wait for anything. Default: none.
	OnConnection func(ConnectionEvent)
}

// Swarm is a number of connections to one gateway that a client keeps, and everything that is under way on them. All
// its methods are safe for concurrent use.
type Swarm struct {
	config  SwarmConfig
	url     string // of origin
	origin  target // the gateway that the swarm was made for
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	log     *slog.Logger
	session proto.ID
	lanes   []*swarmLane

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	successor atomic.Pointer[target] // the gateway that one has named for the time after it; nil: none has

	turn    atomic.Uint32 // of the lanes to choose from
	dialing chan struct{} // a slot for each connection that is being made
	waiting atomic.Int32  // callers that wait for a free slot
	paused  atomic.Int64  // for how long the process was paused in all, in nanoseconds
	retries retryBudget
	resent  atomic.Bool // tasks were sent again after a restart: their order at the gateway is not that of a Map's items

	mu    sync.Mutex    // guards what follows
	space chan struct{} // closed when a slot may have become free
}

// Dial connects to the gateway at url (tcp://host:port, tls://host:port or unix:///path) and returns once one connection of the swarm
// is welcome; the others follow. A nil config means defaults. When no gateway can be reached, or within
// SwarmConfig.Wait, the error matches ErrUnreachable, or says why the gateway refused. The context bounds Dial alone.
func Dial(ctx context.Context, url string, config *SwarmConfig) (*Swarm, error) {
	s, err := newSwarm(url, config)
	if err != nil {
		return nil, err
	}
	if err := s.reach(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.running.Go(s.keep)
	return s, nil
}

// dialsAtOnce bounds the connections of a swarm that are being made at a time: a gateway lets only so many wait at its door.
const dialsAtOnce = 128

// newSwarm returns a swarm without a connection.
func newSwarm(url string, config *SwarmConfig) (*Swarm, error) {
	if config == nil {
		config = &SwarmConfig{}
	}
	c, err := config.settle()
	if err != nil {
		return nil, err
	}
	origin, err := newTarget(url)
	if err != nil {
		return nil, err
	}
	s := &Swarm{config: c, url: url, origin: origin, log: c.Logger, space: make(chan struct{}),
		dialing: make(chan struct{}, dialsAtOnce)}
	if !c.NoSession {
		s.session = newID()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for i := range c.Connections {
		l := &swarmLane{swarm: s, index: uint16(i), firstTry: make(chan error, 1)}
		l.shared.Offer(c.ConnectionCredit)
		l.lane.init(l, c.FrameLimit, c.SendBuffer, c.NoSession)
		l.windows.SetLimit(creditGrowth * c.StreamCredit)
		s.lanes = append(s.lanes, l)
	}
	open := c.Dial
	if open == nil {
		open = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	s.dial = open
	return s, nil
}

// maxRedirects is how many successors Dial follows at once.
const maxRedirects = 4

// reach starts the first connection, and the others when it is welcome.
func (s *Swarm) reach(ctx context.Context) error {
	deadline := time.Now().Add(s.config.Wait)
	first := s.lanes[0]
	backoff := backoff{least: s.config.MinBackoff, most: s.config.MaxBackoff}
	redirects := 0
	for {
		k, welcome, err := first.connect(ctx)
		if err == nil {
			s.running.Go(func() { first.run(k, welcome) })
			break
		}
		if redirects < maxRedirects && first.follow(err) {
			redirects++
			continue
		}
		if !passing(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(min(pauseAfter(err, backoff.next()), max(0, time.Until(deadline)))):
		case <-ctx.Done():
			return fmt.Errorf("%w at %s: %w (last try: %w)", ErrUnreachable, s.url, ctx.Err(), err)
		}
	}
	for _, l := range s.lanes[1:] {
		s.running.Go(func() { l.run(nil, proto.Welcome{}) })
	}
	err := <-first.firstTry
	first.tried(err)
	return err
}

// passing reports whether trying again may help.
func passing(err error) bool {
	return !errors.Is(err, ErrVersion) && !errors.Is(err, ErrUntrusted) && !errors.Is(err, ErrNotAllowed) && !errors.Is(err, ErrNotShoal) &&
		!errors.Is(err, ErrMalformed)
}

// URL returns what the swarm dialled.
func (s *Swarm) URL() string { return s.url }

// Connected returns how many of the swarm's connections are up.
func (s *Swarm) Connected() int {
	n := 0
	for _, l := range s.lanes {
		if laneState(l.state.Load()) == laneUp {
			n++
		}
	}
	return n
}

// WaitConnected returns when all connections of the swarm are up, or with the first error that one of them met.
func (s *Swarm) WaitConnected(ctx context.Context) error {
	for _, l := range s.lanes {
		select {
		case err := <-l.firstTry:
			l.tried(err)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close says goodbye: what is under way is cancelled at the gateway and ends as canceled here. It returns when no
// goroutine of the swarm is left.
func (s *Swarm) Close() error {
	s.cancel()
	var leaving sync.WaitGroup
	for _, l := range s.lanes {
		leaving.Go(l.leave)
	}
	leaving.Wait()
	s.running.Wait()
	for _, l := range s.lanes {
		l.abandonAll()
	}
	s.wakeWaiters()
	return nil
}

// handing is tasks that are to be handed to a lane, all those of one caller that are ready.
type handing struct {
	request  *request
	from     sender
	tasks    []outgoing
	together int  // how many of them make a frame; 1: they share frames as they come
	here     bool // whoever hands them over may also write them
	// renew makes the request anew after a wait for room; nil: it stays.
	renew func() *request
}

// submit hands the first n tasks to a lane, at least one, and waits for a free slot if it must. Id is that of the last.
// The error is that of the first task.
func (s *Swarm) submit(ctx context.Context, h *handing) (l *swarmLane, n int, id uint32, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, 0, taskErrorFor(h.request.name, err)
		}
		if s.ctx.Err() != nil {
			return nil, 0, 0, fmt.Errorf("swarm to %s: %w", s.url, ErrClosed)
		}
		best, from := s.pick()
		if best == nil {
			return nil, 0, 0, fmt.Errorf("%w at %s", ErrUnreachable, s.url)
		}
		share := len(h.tasks)
		if share > h.together {
			share = fairShare(best, from, share, h.together)
		}
		n, id, err := best.submit(h, share)
		if n > 0 || err != nil {
			return best, n, id, err
		}
		if l, n, id, err := s.submitAnywhere(best, h); n > 0 || err != nil {
			return l, n, id, err
		}
		if err := s.waitForSpace(ctx, h); err != nil {
			return nil, 0, 0, taskErrorFor(h.request.name, err)
		}
		if h.renew != nil {
			h.request = h.renew()
		}
	}
}

// submitAnywhere tries the lanes that are as good as one that is full.
func (s *Swarm) submitAnywhere(full *swarmLane, h *handing) (l *swarmLane, n int, id uint32, err error) {
	for _, l := range s.lanes {
		if l != full && l.state.Load() == full.state.Load() {
			if n, id, err := l.submit(h, len(h.tasks)); n > 0 || err != nil {
				return l, n, id, err
			}
		}
	}
	return nil, 0, 0, nil
}

// waitForSpace waits until a slot may be free.
func (s *Swarm) waitForSpace(ctx context.Context, h *handing) error {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.mu.Lock()
	space := s.space
	s.mu.Unlock()
	best := least(s.lanes)
	for _, l := range s.lanes { // one may have become free before we counted as waiting
		if best == nil || l.state.Load() == best.state.Load() && l.hasRoom(h) {
			return nil
		}
	}
	select {
	case <-space:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// wakeWaiters lets those try again who wait for a slot.
func (s *Swarm) wakeWaiters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.space)
	s.space = make(chan struct{})
}

// movePause moves the marks of the gateway's silence by a gap, and the time for which connections are away.
func (s *Swarm) movePause(gap, now int64) {
	s.paused.Add(gap)
	for _, l := range s.lanes {
		l.mu.Lock()
		k := l.link
		l.mu.Unlock()
		l.lane.movePause(k, gap, now)
	}
}

// keep sends heartbeats, gives up on connections that are silent, and ends tasks whose deadline has passed while their
// connection was away.
func (s *Swarm) keep() {
	period := max(5*time.Millisecond, min(s.config.Heartbeat/4, 250*time.Millisecond))
	tick := time.NewTicker(period)
	defer tick.Stop()
	watch := pauseWatch{period: int64(period), last: monotonic()}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		now := monotonic()
		if gap := watch.gap(now); gap > 0 {
			s.movePause(gap, now)
		}
		for _, l := range s.lanes {
			l.heartbeat(now)
			l.expireOverdue(now)
		}
	}
}
