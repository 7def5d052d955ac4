package netio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// standsStill waits until a count has not moved for a while, and returns it.
func standsStill(n *atomic.Int64) int64 {
	last := n.Load()
	for same := 0; same < 50; same++ {
		time.Sleep(5 * time.Millisecond)
		if now := n.Load(); now != last {
			last, same = now, 0
		}
	}
	return last
}

// Who does not take large answers makes neither end keep many of them; taken at last, none is missing.
func TestMapBacklogIsBoundedByBytes(t *testing.T) {
	const n, size = 1000, 100_000
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			g := startGateway(t, GatewayConfig{Workers: 8, SendBuffer: 1}) // the least there is
			var ran atomic.Int64
			first := newGate(t)
			g.HandleCall("large", func(ctx context.Context, in []byte) ([]byte, error) {
				ran.Add(1)
				if string(in) == "0" && ordered {
					_, _ = first.pass(ctx, nil)
				}
				return make([]byte, size), nil
			})
			s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
			if ordered {
				go func() { // ends with the first item, which it lets go
					if got := standsStill(&ran); got > 200 {
						t.Errorf("%d tasks have run, and no answer is taken", got)
					}
					first.release()
				}()
			}
			taken := 0
			for r, err := range s.Map(testContext(t), "large", repeat(n), &MapOptions{Ordered: ordered, Bytes: 1 << 20}) {
				if taken == 0 && !ordered {
					if got := standsStill(&ran); got > 200 {
						t.Errorf("%d tasks have run, and one answer is taken", got)
					}
				}
				if err != nil || len(r.Body) != size {
					t.Fatalf("%d: %d bytes, %v", r.Index, len(r.Body), err)
				}
				taken++
			}
			if taken != n {
				t.Errorf("%d results", taken)
			}
		})
	}
}

// Results in order wait for an item that was refused and is sent again behind many others, with the backlog full: it comes.
func TestMapOrderedBacklogAndRetry(t *testing.T) {
	const n, size = 300, 50_000
	g := startGateway(t, GatewayConfig{Workers: 2, SendBuffer: 1})
	var tries atomic.Int64
	g.HandleCall("late", func(_ context.Context, in []byte) ([]byte, error) {
		if string(in) == "0" && tries.Add(1) <= 2 {
			return nil, &StatusError{Status: StatusBusy}
		}
		return make([]byte, size), nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
	next := 0
	for r, err := range s.Map(testContext(t), "late", repeat(n), &MapOptions{Ordered: true, Bytes: 1 << 20, Retries: 5}) {
		if r.Index != next || err != nil || len(r.Body) != size || r.Index == 0 && r.Attempt != 3 {
			t.Fatalf("%d in place of %d, attempt %d: %v", r.Index, next, r.Attempt, err)
		}
		next++
	}
	if next != n {
		t.Errorf("%d results", next)
	}
}

// A Map that leaves with a full backlog leaves nothing behind that keeps others waiting.
func TestMapBacklogIsLeft(t *testing.T) {
	g := startGateway(t, GatewayConfig{SendBuffer: 1})
	g.HandleCall("large", func(context.Context, []byte) ([]byte, error) { return make([]byte, 100_000), nil })
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	for range s.Map(testContext(t), "large", repeat(1000), &MapOptions{Bytes: 1}) {
		eventually(t, "acks are kept back", func() bool { return s.lanes[0].holders.Load() == 1 })
		break
	}
	if got := s.lanes[0].holders.Load(); got != 0 {
		t.Errorf("%d still keep acks back", got)
	}
	for range 100 {
		if out, err := s.Call(testContext(t), "large", nil); err != nil || len(out) != 100_000 {
			t.Fatal(err)
		}
	}
}

// A batch of N is a frame of N, wherever the memory of frames ends.
func TestBatchIsFrame(t *testing.T) {
	for _, size := range []int{1, 30, 1000, 40_000} {
		s, err := newSwarm("tcp://127.0.0.1:1", &SwarmConfig{Connections: 1})
		if err != nil {
			t.Fatal(err)
		}
		l := s.lanes[0]
		l.window, l.windowBytes, l.maxKept = 1<<16, 1<<40, 1<<30
		l.out.SetPeer(4<<20, CompressNone)
		tasks := make([]outgoing, 512)
		for i := range tasks {
			tasks[i] = outgoing{i, make([]byte, size)}
		}
		m := &mapRun{swarm: s, sinks: make([]mapSink, 1)}
		for rest := tasks; len(rest) > 0; {
			l.mu.Lock()
			n, _, err := l.enqueue(&handing{request: &request{name: "echo"}, from: m, tasks: rest, together: 16}, len(rest))
			l.mu.Unlock()
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		frames := 0
		l.out.NeverReceived(false, func(f proto.Frame) {
			_, _, rest, err := proto.ParseTasksHeader(f.Payload)
			n := 0
			for err == nil && len(rest) > 0 {
				_, _, rest, err = proto.NextTask(rest)
				n++
			}
			if err != nil || n != 16 {
				t.Errorf("size %d: a frame of %d tasks, %v", size, n, err)
			}
			frames++
		})
		if frames != 32 {
			t.Errorf("size %d: %d frames", size, frames)
		}
	}
}

// What a Map was told of when it ended, and of each attempt.
func TestMapResultTimes(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	before := time.Now().Add(-time.Second)
	for r, err := range s.Map(testContext(t), "echo", repeat(10), nil) {
		if err != nil || r.Attempt != 1 || r.Start().Before(before) || r.End().Sub(r.Start()) != r.Elapsed || r.End().After(time.Now().Add(time.Second)) {
			t.Errorf("%+v, %v: from %v to %v", r, err, r.Start(), r.End())
		}
	}
	if workers, err := s.GatewayWorkers(testContext(t)); err != nil || workers != 1024 {
		t.Errorf("%d workers, %v", workers, err)
	}
}

// A cancel while the gateway is away: what it may have run is lost, what it never had is canceled.
func TestCancelWhileGatewayIsAway(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), &SwarmConfig{Connections: 1, MinBackoff: time.Hour})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	ended := make(chan error, 2)
	sendNow := make(chan struct{})
	items := func(yield func([]byte) bool) {
		if yield([]byte("taken")) {
			<-sendNow
			yield([]byte("never sent"))
		}
	}
	go func() {
		for r, err := range s.Map(ctx, "wait", items, nil) {
			ended <- fmt.Errorf("%d: %w", r.Index, err)
		}
		close(ended)
	}()
	eventually(t, "the first runs", func() bool { return g.Stats().Running == 1 })
	p.cut()
	eventually(t, "the connection is away", func() bool { return s.Connected() == 0 })
	close(sendNow)
	eventually(t, "the second waits", func() bool { return s.lanes[0].inflight.Load() == 2 })
	cancel()
	for range 2 {
		err := within(t, "it ends", ended)
		want := ErrLost
		if err != nil && err.Error()[0] == '1' {
			want = ErrCanceled
		}
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// Who asks is told what happens to the connections.
func TestConnectionEvents(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	events := make(chan ConnectionEvent, 100)
	s := dial(t, p.url(), &SwarmConfig{Connections: 1, MinBackoff: time.Millisecond, OnConnection: func(e ConnectionEvent) { events <- e }})
	for _, want := range []ConnectionState{ConnectionNew, ConnectionLost, ConnectionResumed} {
		e := within(t, want.String(), events)
		for e.State == ConnectionRefused { // the cut may reach a try too
			e = within(t, want.String(), events)
		}
		if e.State != want || (e.Err != nil) != (want == ConnectionLost) || e.Connection != 0 || e.Again {
			t.Errorf("%+v, want %v", e, want)
		}
		if want == ConnectionNew {
			p.cut()
		}
	}
	_ = s.Close()
}
