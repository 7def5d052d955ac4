package netio

import (
	"testing"
	"time"
)

func TestPauseWatch(t *testing.T) {
	w := pauseWatch{period: 10, last: 100}
	for _, c := range []struct{ now, gap int64 }{{110, 0}, {125, 0}, {145, 10}, {155, 0}, {1155, 990}} {
		if got := w.gap(c.now); got != c.gap {
			t.Errorf("at %d: gap %d, want %d", c.now, got, c.gap)
		}
	}
}

// A gateway that was paused for longer than all its timeouts parts from nobody and forgets nobody for that.
func TestPauseIsNobodysSilence(t *testing.T) {
	g := startGateway(t, GatewayConfig{HandshakeTimeout: time.Hour, IdleTimeout: time.Hour, WriteTimeout: time.Hour, SessionTimeout: time.Hour})
	hello := sessionHello(1)
	away := connect(t, g).greet(hello)
	_ = away.conn.Close()
	eventually(t, "the lane is away", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.away.empty.Len() == 1
	})
	p, greeting := connect(t, g).greet(helloFor()), connect(t, g)
	eventually(t, "one greets", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.greeting) == 1
	})
	now := monotonic() + int64(3*time.Hour)
	g.movePause(int64(3*time.Hour), now)
	g.sweepOnce(now)
	p.echo()
	greeting.greet(helloFor()).echo()
	if p := connect(t, g).greet(again(hello, 0)); !p.welcome.Resumed {
		t.Error("the lane was forgotten")
	}
}

// A swarm that was paused does not take it for the silence of its gateway.
func TestPauseOfSwarm(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, Heartbeat: time.Hour})
	l := s.lanes[0]
	k := l.link
	now := monotonic() + int64(4*time.Hour)
	s.movePause(int64(4*time.Hour), now)
	l.heartbeat(now)
	if k.isOver() || s.paused.Load() != int64(4*time.Hour) {
		t.Error("its connection was given up")
	}
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}
