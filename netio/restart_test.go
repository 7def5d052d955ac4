package netio

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// dynasty is a gateway behind an address that stays the same while gateways come and go.
type dynasty struct {
	t       *testing.T
	proxy   *faultProxy
	gateway *Gateway
	set     func(g *Gateway)
}

func startDynasty(t *testing.T, set func(g *Gateway)) *dynasty {
	g := startGateway(t, GatewayConfig{})
	set(g)
	return &dynasty{t: t, proxy: startFaultProxy(t, g.URLs()[0], faultPlan{seed: 1}), gateway: g, set: set}
}

// next starts another gateway and sends new connections there.
func (r *dynasty) next() {
	r.gateway = startGateway(r.t, GatewayConfig{})
	r.set(r.gateway)
	r.proxy.retarget(r.gateway.URLs()[0])
}

// kill cuts every connection and ends the gateway without a word.
func (r *dynasty) kill() {
	old := r.gateway
	r.next()
	r.proxy.cutAll()
	_ = old.Close()
}

func quickSwarm(policy RestartPolicy) SwarmConfig {
	return SwarmConfig{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, OnRestart: policy}
}

func TestRestartPolicyOfEachCall(t *testing.T) {
	checkLeaks(t)
	held := newGate(t)
	defer held.release()
	lives := atomic.Int32{}
	r := startDynasty(t, func(g *Gateway) {
		life := lives.Add(1)
		g.HandleCall("held", func(ctx context.Context, in []byte) ([]byte, error) {
			if life == 1 {
				return held.pass(ctx, in)
			}
			return []byte("second life"), nil
		})
	})
	s := dialTorn(t, r.proxy, quickSwarm(RestartReport))
	ctx := testContext(t)
	one := func(yield func([]byte) bool) { yield([]byte("item")) }
	type outcome struct {
		body string
		err  error
	}
	run := func(call func() outcome) chan outcome {
		c := make(chan outcome, 1)
		go func() { c <- call() }()
		within(t, "it runs", held.arrived)
		return c
	}
	call := func(ctx context.Context) func() outcome {
		return func() outcome {
			out, err := s.Call(ctx, "held", nil)
			return outcome{string(out), err}
		}
	}
	mapped := func(ctx context.Context, o MapOptions) func() outcome {
		return func() (last outcome) {
			for r, err := range s.Map(ctx, "held", one, &o) {
				last = outcome{string(r.Body), err}
			}
			return last
		}
	}
	lost := []chan outcome{
		run(call(ctx)),
		run(call(WithRestart(ctx, RestartReport))),
		run(mapped(ctx, MapOptions{})),
		run(mapped(WithRestart(ctx, RestartRetry), MapOptions{OnRestart: RestartReport})),
	}
	again := []chan outcome{
		run(call(WithRestart(ctx, RestartRetry))),
		run(mapped(WithRestart(ctx, RestartRetry), MapOptions{})),
		run(mapped(ctx, MapOptions{OnRestart: RestartRetry})),
	}
	r.kill()
	for i, c := range lost {
		if o := within(t, "it is lost", c); !errors.Is(o.err, ErrLost) {
			t.Errorf("lost %d: %q, %v", i, o.body, o.err)
		}
	}
	for i, c := range again {
		if o := within(t, "it runs again", c); o.err != nil || o.body != "second life" {
			t.Errorf("again %d: %q, %v", i, o.body, o.err)
		}
	}
}

// Ten gateways in a row under load, each drained: nothing is lost and nothing runs twice, whatever the policy.
func TestRollingRestartsThatDrain(t *testing.T) {
	for _, policy := range []RestartPolicy{RestartReport, RestartRetry} {
		rolling(t, policy, func(r *dynasty) {
			old := r.gateway
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- old.Shutdown(ctx) }()
			eventually(t, "it drains", old.draining.Load)
			r.next() // the address is the successor's from here on
			if err := within(t, "the drain ends", done); err != nil {
				t.Error(err)
			}
		}, false)
	}
}

// Ten gateways in a row under load, each killed: with retry nothing is lost.
func TestRollingRestartsThatKill(t *testing.T) {
	rolling(t, RestartRetry, (*dynasty).kill, true)
}

func rolling(t *testing.T, policy RestartPolicy, restart func(r *dynasty), mayRunAgain bool) {
	const n, restarts = 40_000, 10
	l := newLedger(n)
	r := startDynasty(t, func(g *Gateway) { g.HandleCall("count", l.run) })
	s := dialTorn(t, r.proxy, quickSwarm(policy))
	pace := make(chan struct{})
	items := func(yield func([]byte) bool) { // so many of them with each restart, so that each meets work
		sent := 0
		for item := range l.items {
			if sent++; sent%(n/(restarts+1)) == 0 {
				<-pace
			}
			if !yield(item) {
				return
			}
		}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		l.take(t, s.Map(testContext(t), "count", items, &MapOptions{Batch: 16}))
	}()
	for range restarts {
		select {
		case pace <- struct{}{}:
		case <-finished: // it has failed
		}
		restart(r)
	}
	close(pace)
	<-finished
	l.check(t, mayRunAgain)
}

// A stream that is lost says what its reader has got, also of the chunks that had arrived before.
func TestLostStreamSaysWhatWasDelivered(t *testing.T) {
	sent := make(chan struct{})
	r := startDynasty(t, func(g *Gateway) {
		g.HandleStream("feed", func(ctx context.Context, _ []byte, out *Stream) error {
			for i := range int64(10) {
				if err := out.Send(100+i, []byte("chunk")); err != nil {
					return err
				}
			}
			close(sent)
			<-ctx.Done()
			return ctx.Err()
		})
	})
	s := dialTorn(t, r.proxy, quickSwarm(RestartReport))
	st, err := s.OpenStream(testContext(t), "feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ident, _, err := st.Recv(); ident != 100 || err != nil {
		t.Fatal(ident, err)
	}
	within(t, "all is sent", sent)
	if _, err := s.Call(testContext(t), "echo", nil); err != nil { // behind the chunks, if it took this connection
		t.Fatal(err)
	}
	r.kill()
	last, n := int64(100), int64(1)
	for {
		ident, _, err := st.Recv()
		if err == nil {
			last, n = ident, n+1
			continue
		}
		var se *StreamError
		if !errors.As(err, &se) || !errors.Is(err, ErrLost) || se.Subroutine != "feed" ||
			se.Progress.LastIdent != last || se.Progress.Received != n {
			t.Errorf("after %d chunks, the last with ident %d: %v, %+v", n, last, err, se)
		}
		return
	}
}

// A send that is lost says how many bytes the subroutine has taken, at least, and never more than it has.
func TestLostSendSaysWhatWasTaken(t *testing.T) {
	const read = 1 << 20
	took := make(chan struct{})
	r := startDynasty(t, func(g *Gateway) {
		g.HandleSend("store", func(ctx context.Context, _ []byte, body io.Reader) ([]byte, error) {
			if _, err := io.CopyN(io.Discard, body, read); err != nil {
				return nil, err
			}
			close(took)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	s := dialTorn(t, r.proxy, quickSwarm(RestartRetry)) // what has been read from a body cannot be sent again
	failed := make(chan error, 1)
	go func() {
		_, err := s.Send(testContext(t), "store", nil, &pattern{n: 64 << 20})
		failed <- err
	}()
	within(t, "it is read", took)
	r.kill()
	var se *StreamError
	err := within(t, "it is lost", failed)
	if !errors.As(err, &se) || !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	if p := se.Progress; p.Taken <= 0 || p.Taken > read+chunkSize || p.Taken > p.Sent {
		t.Errorf("%d bytes were read: %+v", read, p)
	}
}

// A draining gateway's refusal that crosses a Map's cancel ends the task: nobody wants its successor to have it.
func TestRefusalCrossesCancel(t *testing.T) {
	url := fakeGateway(t, func(p *raw) {
		for {
			f, err := p.read()
			if err != nil {
				return
			}
			if f.Kind == proto.KindCancel { // it refused the task before it read this
				p.write(proto.AppendDrain(nil, 60_000))
				p.send(proto.KindResults, proto.AppendResult(nil, 0, StatusDraining, nil))
			}
		}
	})
	s := dial(t, url, &SwarmConfig{Connections: 1, Wait: time.Minute})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var last error
		for _, err := range s.Map(ctx, "x", repeat(1), nil) {
			last = err
		}
		done <- last
	}()
	eventually(t, "it is in flight", func() bool { return s.lanes[0].inflight.Load() == 1 })
	cancel()
	if err := within(t, "the map ends", done); !errors.Is(err, ErrCanceled) && !errors.Is(err, ErrDraining) {
		t.Errorf("it ends with %v", err)
	}
}
