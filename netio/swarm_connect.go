package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"shoal/proto"
)

// run keeps the lane connected until the swarm is closed. The first connection may be there already.
func (l *swarmLane) run(k *link, welcome proto.Welcome) {
	backoff := backoff{least: l.swarm.config.MinBackoff, most: l.swarm.config.MaxBackoff}
	lost, paused := time.Now(), l.swarm.paused.Load()
	for l.swarm.ctx.Err() == nil {
		var err error
		served := false
		if k == nil {
			k, welcome, err = l.connect(l.swarm.ctx)
		}
		l.follow(err)
		if err == nil {
			backoff.reset()
			err = l.serve(k, welcome)
			l.follow(err)
			k, served = nil, true
			lost, paused = time.Now(), l.swarm.paused.Load()
			if l.swarm.ctx.Err() != nil {
				l.tried(ErrClosed)
				return
			}
			l.happened(ConnectionLost, err)
		} else if l.swarm.ctx.Err() == nil {
			l.happened(ConnectionRefused, err)
		}
		l.tried(err)
		if endsLane(err) {
			l.restart(err, served && errors.Is(err, ErrDraining))
		}
		if time.Since(lost)-time.Duration(l.swarm.paused.Load()-paused) > l.swarm.config.GiveUp || !passing(err) {
			if laneState(l.state.Swap(int32(laneGone))) != laneGone {
				l.happened(ConnectionGivenUp, err)
			}
			l.restart(err, false)
			l.swarm.wakeWaiters()
		}
		select {
		case <-time.After(pauseAfter(err, backoff.next())):
		case <-l.swarm.ctx.Done():
			return
		}
	}
}

// endsLane reports whether the gateway forgot the lane when it said goodbye.
func endsLane(err error) bool {
	return isGoodbye(err) && !errors.Is(err, ErrFull) && !errors.Is(err, errIdle) && !errors.Is(err, errSlow) &&
		!errors.Is(err, errSuperseded)
}

// tried tells how the first try went.
func (l *swarmLane) tried(err error) {
	select {
	case l.firstTry <- err:
	default:
	}
}

// serve attaches a connection and reads from it until it ends.
func (l *swarmLane) serve(k *link, welcome proto.Welcome) error {
	l.in.Agree(welcome.Features & expandable(l.swarm.config.Compress))
	l.mu.Lock()
	l.out.SetPeer(int(min(welcome.FrameLimit, maxFrameLimit)), agreed(l.swarm.config.Compress, welcome.Features))
	l.window = int(min(welcome.Window, maxWindow))
	l.windowBytes = int64(min(welcome.WindowBytes, 1<<62))
	l.maxStreams = welcome.Streams
	l.initialCredit = int(welcome.StreamCredit)
	l.heartbeats = l.swarm.config.Heartbeat
	if idle := time.Duration(welcome.IdleTimeout) * time.Millisecond; idle > 0 {
		l.heartbeats = min(l.heartbeats, idle/3)
	}
	l.mu.Unlock()
	if !welcome.Resumed {
		l.begun, l.key = l.helloClock, bytes.Clone(welcome.Key())
		l.state.CompareAndSwap(int32(laneGone), int32(laneConnecting))
		l.restart(fmt.Errorf("gateway does not know the session any more: %w", ErrLost), false)
		l.mu.Lock()
		l.shared.Begin(welcome.LaneCredit())
		l.creditFor = nil
		l.mu.Unlock()
	}
	l.welcomed = true
	if !l.attach(k, welcome.Received, nil) {
		l.welcomed = false
		k.close()
		if l.swarm.ctx.Err() != nil {
			return ErrClosed
		}
		return fmt.Errorf("%w: received count %d of the welcome", proto.ErrMalformed, welcome.Received)
	}
	state := laneUp
	if welcome.Draining {
		state = laneDraining
	}
	l.state.Store(int32(state))
	l.tried(nil)
	l.swarm.wakeWaiters()
	if welcome.Resumed {
		l.happened(ConnectionResumed, nil)
	} else {
		l.happened(ConnectionNew, nil)
	}
	err := k.readLoop(l)
	if k.mute.Load() {
		err = errSilent
	}
	l.state.Store(int32(laneConnecting))
	if bye, ok := goodbyeFor(err); ok && !isGoodbye(err) {
		l.part(k, bye)
		l.awaitDetached(k)
		k.linger()
	}
	l.detach(k)
	l.awaitDetached(k)
	l.losePings(err)
	if l.swarm.config.NoSession {
		l.restart(fmt.Errorf("connection lost (%w): %w", err, ErrLost), errors.Is(err, ErrDraining))
	}
	return err
}

// connect dials and shakes hands.
func (l *swarmLane) connect(ctx context.Context) (*link, proto.Welcome, error) {
	k, welcome, err := l.connectTo(ctx, l.target())
	if l.failed++; err == nil {
		l.failed = 0
	}
	return k, welcome, err
}

func (l *swarmLane) connectTo(ctx context.Context, to target) (*link, proto.Welcome, error) {
	s := l.swarm
	select {
	case s.dialing <- struct{}{}:
		defer func() { <-s.dialing }()
	case <-ctx.Done():
		return nil, proto.Welcome{}, fmt.Errorf("%w at %s: %w", ErrUnreachable, to.url, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	conn, err := s.dial(ctx, to.network, to.address)
	if err != nil {
		return nil, proto.Welcome{}, fmt.Errorf("%w at %s: %w", ErrUnreachable, to.url, explainDial(to.network, to.address, err))
	}
	dialled := conn
	stop := context.AfterFunc(ctx, func() { _ = dialled.SetDeadline(time.Unix(1, 0)) })
	var welcome proto.Welcome
	if to.inTLS {
		conn, err = s.secure(ctx, conn, to)
	}
	if err == nil {
		welcome, err = l.handshake(conn)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil && !errors.Is(err, ErrUntrusted) {
			err = fmt.Errorf("connected, but no answer within %v; is it a shoal gateway? %w", s.config.DialTimeout, ErrUnreachable)
		}
		var lost *net.OpError
		if errors.As(err, &lost) || errors.Is(err, io.EOF) {
			err = fmt.Errorf("connected, but the connection was closed: %w: %w", ErrUnreachable, err)
		}
		return nil, proto.Welcome{}, fmt.Errorf("handshake with %s: %w", to.url, err)
	}
	return newConnLink(conn), welcome, nil
}

// wireLane returns the number of the lane that a hello says.
func (l *swarmLane) wireLane() uint16 {
	if l.swarm.config.NoSession {
		return 0
	}
	return l.index
}

// explainDial says what a person can mend, where the system's error does not.
func explainDial(network, address string, err error) error {
	if network == "unix" {
		if info, statErr := os.Lstat(address); statErr == nil && info.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("%s is no socket", address)
		}
	}
	return err
}

func (l *swarmLane) handshake(conn net.Conn) (proto.Welcome, error) {
	c := l.swarm.config
	l.helloClock = max(clockMillis(), l.helloClock+1)
	hello := proto.Hello{
		MinVersion: proto.Version, MaxVersion: proto.Version, Features: expandable(c.Compress),
		FrameLimit: uint32(c.FrameLimit), StreamCredit: uint32(c.StreamCredit), Session: l.swarm.session,
		Lane: l.wireLane(), Resume: l.welcomed, Received: l.in.Received(), Clock: l.helloClock,
	}
	if len(c.Credential) > 0 {
		hello.Extensions = append(hello.Extensions, proto.Extension{Type: proto.ExtensionCredential, Value: c.Credential})
	}
	if c.ConnectionCredit > 0 {
		hello.Extensions = append(hello.Extensions, proto.CreditExtension(uint32(c.ConnectionCredit)))
	}
	if l.key != nil {
		hello.Prove(l.key, l.begun)
	}
	if _, err := conn.Write(proto.AppendHello(nil, hello)); err != nil {
		return proto.Welcome{}, err
	}
	payload, err := readHandshake(conn, proto.KindWelcome)
	if err != nil {
		return proto.Welcome{}, err
	}
	w, err := proto.ParseWelcome(payload)
	switch {
	case err != nil:
		return w, err
	case w.Version != proto.Version:
		return w, fmt.Errorf("%w: it answers with version %d", ErrVersion, w.Version)
	case w.Window == 0:
		return w, fmt.Errorf("%w: window 0", proto.ErrMalformed)
	}
	if err := checkWelcome(hello, w); err != nil {
		return w, err
	}
	return w, conn.SetDeadline(time.Time{})
}

// checkWelcome says what in a welcome does not fit its hello.
func checkWelcome(hello proto.Hello, w proto.Welcome) error {
	keyed := hello.Session != proto.ID{} && !w.Resumed
	switch {
	case w.Resumed && !hello.Resume:
		return fmt.Errorf("%w: resumed without being asked", proto.ErrMalformed)
	case w.Features&^hello.Features != 0:
		return fmt.Errorf("%w: features %#x, which were not asked for", proto.ErrMalformed, w.Features&^hello.Features)
	case keyed != (w.Key() != nil):
		return fmt.Errorf("%w: the welcome has a key: %v", proto.ErrMalformed, !keyed)
	}
	for _, e := range w.Extensions {
		if e.Critical() {
			return fmt.Errorf("%w: extension %#x is not known here", proto.ErrMalformed, e.Type)
		}
	}
	return nil
}

// leave says goodbye and ends the connection.
func (l *swarmLane) leave() {
	l.mu.Lock()
	l.closed = true
	k := l.link
	l.mu.Unlock()
	if k != nil {
		l.part(k, proto.Goodbye{Code: proto.GoodbyeDone})
		l.awaitDetached(k)
		k.awaitEnd() // to close with bytes unread would reset the connection, and take the goodbye back
		select {
		case <-k.whenEnded():
			l.mu.Lock()
			l.goodbyeRead = true
			l.mu.Unlock()
		default:
		}
		k.close()
	}
}

// abandonAll ends what is still under way when the swarm has been closed: as canceled where it never left, or where the
// gateway has taken the goodbye, which cancels it there; else as lost, since it may run on.
func (l *swarmLane) abandonAll() {
	l.mu.Lock()
	taken := l.goodbyeRead
	unseen := l.unseen(false)
	slots := l.slots
	l.slots, l.free = nil, nil
	l.loseStreams(ErrClosed)
	l.out.Reset()
	l.mu.Unlock()
	var over []ending
	for id, s := range slots {
		if s.sink == nil {
			continue
		}
		_, never := unseen[uint32(id)]
		if never || taken || s.parked() {
			over = append(over, ending{s, StatusCanceled, proto.Error{Text: "swarm closed"}})
		} else {
			over = append(over, ending{s, StatusLost, proto.Error{Text: "swarm closed, and the gateway did not say that it has cancelled it"}})
		}
	}
	l.deliver(over)
}

// expireOverdue ends tasks whose deadline passed a while ago without a word from the gateway.
func (l *swarmLane) expireOverdue(now int64) {
	const grace = 250 // milliseconds: the gateway's own answer is better
	var overdue []ending
	l.mu.Lock()
	if l.deadlines > 0 {
		for id := range l.slots {
			s := &l.slots[id]
			if s.sink != nil && s.request.deadline != 0 && uint64(now/int64(time.Millisecond)) > s.request.deadline+grace {
				overdue = append(overdue, ending{slot: *s, status: StatusTimeout})
				l.dismiss(uint32(id))
			}
		}
	}
	l.mu.Unlock()
	l.deliver(overdue)
}

// backoff gives the pauses between tries: they double up to a limit, each with jitter of half its length.
type backoff struct{ least, most, now time.Duration }

func (b *backoff) next() time.Duration {
	b.now = min(max(b.least, 2*b.now), b.most)
	return b.now/2 + rand.N(b.now/2+1)
}

func (b *backoff) reset() { b.now = 0 }

// pauseAfter returns the pause after a try that ended with err: that of the back-off, or longer where the gateway asks for it.
func pauseAfter(err error, pause time.Duration) time.Duration {
	var g *goodbyeError
	if errors.As(err, &g) {
		return afterAsked(pause, g.RetryAfter)
	}
	return pause
}
