package netio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"shoal/proto"
)

// errSilent is why a connection was given up that heartbeats found out.
var errSilent = errors.New("the gateway is silent")

// heartbeat pings where nothing has come or gone for a while, since the gateway closes a connection from which nothing
// comes, and closes one that has stayed silent. Streams that wait for credit do not keep it from that: pings travel ahead of
// everything.
func (l *swarmLane) heartbeat(now int64) {
	l.mu.Lock()
	k, every := l.link, int64(l.heartbeats)
	l.mu.Unlock()
	if k == nil {
		return
	}
	lastRead := l.lastRead.Load()
	silent := now - max(lastRead, k.lastTaken.Load()) // what it takes slowly is a sign of life, and answers come behind it
	if silent > 3*every && k.writingSince.Load() == 0 || k.stalled(now, time.Duration(3*every)) {
		l.swarm.log.Warn("gateway is silent", "url", l.swarm.url, "lane", l.index, "for", time.Duration(silent))
		k.mute.Store(true)
		k.close()
		return
	}
	if now-min(lastRead, l.lastSent.Load()) >= every && now-l.lastPing >= every {
		l.lastPing = now
		l.control(func(dst []byte) []byte { return proto.AppendFrame(dst, proto.Frame{Kind: proto.KindPing}) })
	}
}

// Pong is the answer to one ping.
type Pong struct {
	Connection int
	RTT        time.Duration
	Err        error
}

// Ping measures the round-trip time of each connection of the swarm, one after another; message, of at most 1000
// bytes, is sent along and echoed. A connection that is away has an error.
func (s *Swarm) Ping(ctx context.Context, message []byte) []Pong {
	const longest = 1000
	pongs := make([]Pong, len(s.lanes))
	for i, l := range s.lanes {
		pongs[i].Connection = i
		if len(message) > longest {
			pongs[i].Err = fmt.Errorf("ping of %d bytes: %w of %d bytes", len(message), ErrTooLarge, longest)
			continue
		}
		pongs[i].RTT, pongs[i].Err = l.ping(ctx, message)
	}
	return pongs
}

func (l *swarmLane) ping(ctx context.Context, message []byte) (time.Duration, error) {
	done := make(chan error, 1)
	l.mu.Lock()
	if l.link == nil {
		l.mu.Unlock()
		return 0, fmt.Errorf("connection %d to %s is away: %w", l.index, l.swarm.url, ErrUnreachable)
	}
	l.nextPing++
	token := l.nextPing
	if l.pings == nil {
		l.pings = map[uint64]chan error{}
	}
	l.pings[token] = done
	start := time.Now()
	payload := append(binary.LittleEndian.AppendUint64(nil, token), message...)
	l.out.Control(l.in.Received(), func(dst []byte) []byte {
		return proto.AppendFrame(dst, proto.Frame{Kind: proto.KindPing, Payload: payload})
	})
	l.startFlush()
	l.mu.Unlock()
	select {
	case err := <-done:
		return time.Since(start), err
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.pings, token)
		l.mu.Unlock()
		return 0, ctx.Err()
	case <-l.swarm.ctx.Done():
		return 0, ErrClosed
	}
}

// ponged finds who waits for this pong; one to a heartbeat has no token.
func (l *swarmLane) ponged(payload []byte) {
	if len(payload) < 8 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	token := binary.LittleEndian.Uint64(payload)
	if done := l.pings[token]; done != nil {
		done <- nil
		delete(l.pings, token)
	}
}

// losePings ends the wait for pongs that went down with their connection.
func (l *swarmLane) losePings(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, done := range l.pings {
		done <- fmt.Errorf("connection %d to %s was lost: %w: %w", l.index, l.swarm.url, ErrUnreachable, cause)
	}
	clear(l.pings)
}
