package netio

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"shoal/proto"
)

// seen is what a subroutine saw of its context.
type seen struct {
	deadline time.Duration // until it, from when the subroutine began; 0: none
	err      error
	after    bool // a function of context.AfterFunc was called
	peer     string
}

// watch is a call that says when it begins, reports what it sees of its context, and ends with it.
func watch(began chan<- struct{}, reports chan<- seen) CallFunc {
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		began <- struct{}{}
		after := make(chan struct{})
		context.AfterFunc(ctx, func() { close(after) })
		//lint:ignore SA1029 any key will do
		s := seen{peer: RemoteAddr(context.WithValue(ctx, "a", "b"))}
		if d, ok := ctx.Deadline(); ok {
			s.deadline = time.Until(d)
		}
		if ctx.Err() != nil {
			s.peer = "context ended before its time"
		}
		<-ctx.Done()
		s.err = ctx.Err()
		select {
		case <-after:
			s.after = true
		case <-time.After(patience):
		}
		reports <- s
		return []byte("too late"), nil
	}
}

func TestTaskDeadline(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	began, reports := make(chan struct{}, 1), make(chan seen, 1)
	g.HandleCall("watch", watch(began, reports))
	p := connect(t, g).greet(helloFor())
	p.write(tasksFrame(clockMillis()+500, "watch", rawTask{0, ""}))
	if r := p.results(1)[0]; r.Status != StatusTimeout {
		t.Errorf("status is %v", r.Status)
	}
	s := within(t, "the subroutine sees it", reports)
	if !errors.Is(s.err, context.DeadlineExceeded) || !s.after || s.deadline <= 0 || s.deadline > time.Second {
		t.Errorf("it sees %+v", s)
	}
	if s.peer != p.conn.LocalAddr().String() {
		t.Errorf("peer is %q, want %v", s.peer, p.conn.LocalAddr())
	}
	p.write(tasksFrame(1, "wait", rawTask{0, ""})) // long over
	if r := p.results(1)[0]; r.Status != StatusTimeout {
		t.Errorf("status is %v", r.Status)
	}
	p.echo() // a second answer would come first
}

func TestTaskDeadlineFarAwayIsNone(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g).greet(helloFor())
	for _, far := range []uint64{1 << 41, proto.MaxClock} {
		p.write(tasksFrame(far, "echo", rawTask{0, "x"}))
		if r := p.results(1)[0]; r.Status != StatusOK {
			t.Errorf("deadline %d: %v", far, r.Status)
		}
	}
	s := dial(t, g.URLs()[0], nil)
	for _, far := range []time.Duration{1000 * time.Hour, math.MaxInt64} {
		ctx, cancel := context.WithTimeout(testContext(t), far)
		if _, err := s.Call(ctx, "echo", nil); err != nil {
			t.Errorf("%v: %v", far, err)
		}
		cancel()
		far, cancel := context.WithDeadline(context.Background(), time.Now().AddDate(1000, 0, 0))
		if _, err := s.Call(far, "echo", nil); err != nil {
			t.Errorf("a thousand years: %v", err)
		}
		cancel()
	}
}

func TestTaskCancel(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	began, reports := make(chan struct{}, 1), make(chan seen, 1)
	g.HandleCall("watch", watch(began, reports))
	p := connect(t, g).greet(helloFor())
	p.tasks("watch", rawTask{0, ""})
	within(t, "the task runs", began)
	p.send(proto.KindCancel, proto.AppendCancel(nil, 0))
	p.send(proto.KindCancel, proto.AppendCancel(nil, 0))
	if r := p.results(1)[0]; r.Status != StatusCanceled {
		t.Errorf("status is %v", r.Status)
	}
	if s := within(t, "the subroutine sees it", reports); !errors.Is(s.err, context.Canceled) || !s.after || s.deadline != 0 {
		t.Errorf("it sees %+v", s)
	}
	p.echo()
}

func TestTaskCancelWhileQueued(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 1})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	p := connect(t, g).greet(helloFor())
	p.tasks("held", rawTask{0, ""}, rawTask{1, ""}, rawTask{2, ""})
	within(t, "the first runs", held.arrived)
	p.send(proto.KindCancel, proto.AppendCancel(proto.AppendCancel(nil, 1), 2))
	for id, r := range p.results(2) {
		if id == 0 || r.Status != StatusCanceled {
			t.Errorf("task %d: %v", id, r.Status)
		}
	}
	p.tasks("echo", rawTask{1, "the slot is free again"})
	held.release()
	if all := p.results(2); all[0].Status != StatusOK || string(all[1].Body) != "the slot is free again" {
		t.Errorf("results are %v", all)
	}
	if n := len(held.arrived); n != 0 {
		t.Errorf("%d cancelled tasks ran", n)
	}
}

// Frames of cancelled tasks that still wait in the queue are bounded, though their ids are free again.
func TestTaskCancelledFramesAreBounded(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 1, WindowBytes: 1 << 20, FrameLimit: 1 << 20})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	p := connect(t, g).greet(helloFor())
	p.tasks("held", rawTask{0, ""})
	within(t, "the worker is taken", held.arrived)
	before := heapInUse()
	body := string(make([]byte, 512<<10))
	busy := 0
	for range 100 {
		p.tasks("held", rawTask{1, body})
		p.send(proto.KindCancel, proto.AppendCancel(nil, 1))
		switch r := p.results(1)[1]; r.Status {
		case StatusBusy:
			busy++
		case StatusCanceled:
		default:
			t.Fatalf("status is %v", r.Status)
		}
	}
	if grown := heapInUse() - before; grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if busy < 90 {
		t.Errorf("%d were refused as busy", busy)
	}
	held.release()
	p.results(1)
	eventually(t, "there is room again", func() bool {
		p.tasks("echo", rawTask{2, body})
		return p.results(1)[2].Status == StatusOK
	})
}

func TestTaskThatFinishesLater(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 2})
	tasks := make(chan Task, 10)
	g.HandleTask("later", func(task Task) { tasks <- task })
	p := connect(t, g).greet(helloFor())
	p.tasks("later", rawTask{0, "a"}, rawTask{1, "b"}, rawTask{2, "c"})
	a, b := within(t, "one begins", tasks), within(t, "two begin", tasks)
	if a.t.id > b.t.id {
		a, b = b, a
	}
	eventually(t, "they hold both slots without a goroutine", func() bool {
		s := g.Stats()
		return s.Held == 2 && s.Running == 0 && s.Queued == 1
	})
	ctx := a.Context()
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() { close(ended) })
	a.Finish(append(a.Body(), "!"...), nil)
	within(t, "the context ends with the task", ended)
	c := within(t, "the third begins", tasks)
	if r := p.results(1)[0]; string(r.Body) != "a!" {
		t.Errorf("answer is %q", r.Body)
	}
	bctx := b.Context()
	p.send(proto.KindCancel, proto.AppendCancel(nil, 1))
	if r := p.results(1)[1]; r.Status != StatusCanceled {
		t.Errorf("status is %v", r.Status)
	}
	within(t, "the task's context ends", bctx.Done())
	if b.Context() != bctx || !errors.Is(bctx.Err(), context.Canceled) {
		t.Errorf("context ends with %v", bctx.Err())
	}
	go b.Finish(nil, nil) // too late: nobody hears of it
	c.Finish(nil, errors.New("no"))
	if r := p.results(1)[2]; r.Status != StatusFailed {
		t.Errorf("status is %v", r.Status)
	}
	eventually(t, "the slots are free", func() bool { return g.Stats().Held == 0 })
	p.echo()
}

func TestTaskFinishAfterIsCutShort(t *testing.T) {
	table := emulation{"hour": {[]byte("1"), time.Hour}}
	t.Run("HandleTask", func(t *testing.T) { testCutShort(t, func(g *Gateway) { g.HandleTask("table", table.run) }) })
	t.Run("HandleBatch", func(t *testing.T) { testCutShort(t, func(g *Gateway) { g.HandleBatch("table", table.runBatch) }) })
}

func testCutShort(t *testing.T, handle func(g *Gateway)) {
	g := startGateway(t, GatewayConfig{})
	handle(g)
	p := connect(t, g).greet(helloFor())
	p.tasks("table", rawTask{0, "hour"}, rawTask{1, "hour"})
	eventually(t, "both wait", func() bool { return g.Stats().Held == 2 })
	p.write(tasksFrame(clockMillis()+30, "table", rawTask{2, "hour"}, rawTask{3, "hour"}))
	p.send(proto.KindCancel, proto.AppendCancel(nil, 1))
	all := p.results(3)
	if all[1].Status != StatusCanceled || all[2].Status != StatusTimeout || all[3].Status != StatusTimeout {
		t.Errorf("results are %v", all)
	}
	eventually(t, "their slots are free", func() bool { return g.Stats().Held == 1 })
	_ = p.conn.Close()
	eventually(t, "the last goes with its client", func() bool { return g.Stats().Held == 0 })
}

func TestCallDeadlineAndCancelReturnAtOnce(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleCall("stubborn", held.pass) // ignores its context
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	_, err := s.Call(ctx, "stubborn", nil)
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCanceled) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel = context.WithCancel(testContext(t))
	call := s.Go(ctx, "stubborn", nil)
	within(t, "the first call ran", held.arrived)
	within(t, "the second call runs", held.arrived)
	cancel()
	within(t, "the call returns", call.Done())
	if _, err := call.Result(); !errors.Is(err, ErrCanceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Call(ctx, "echo", nil); !errors.Is(err, ErrCanceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if out, err := s.Call(testContext(t), "echo", []byte("goes on")); err != nil || string(out) != "goes on" {
		t.Errorf("%q, %v", out, err)
	}
	held.release()
	eventually(t, "the subroutines end", func() bool { return g.Stats().Running == 0 })
}

// An answer leaves when it is there, also where the subroutine goes on.
func TestTaskFinishedBeforeItsFunctionReturns(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleTask("goes on", func(task Task) {
		task.Finish([]byte("done"), nil)
		<-held.open
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("goes on", rawTask{0, ""})
	if r := p.results(1)[0]; string(r.Body) != "done" {
		t.Errorf("answer is %v", r)
	}
	held.release()
}

// A wait that the clock cannot be added to is a long one, and holds up no other.
func TestTaskWaitsForEver(t *testing.T) {
	for _, wait := range []time.Duration{math.MaxInt64, math.MinInt64} {
		g := startGateway(t, GatewayConfig{})
		g.HandleTask("odd", func(task Task) { task.FinishAfter(wait, nil, nil) })
		g.HandleTask("soon", func(task Task) { task.FinishAfter(time.Millisecond, nil, nil) })
		g.HandleBatch("table", emulation{"x": {wait: wait}}.runBatch)
		p := connect(t, g).greet(helloFor()) // one connection: one heap of timers
		p.tasks("soon", rawTask{0, ""})
		p.results(1)
		p.tasks("odd", rawTask{1, ""})
		p.tasks("table", rawTask{2, "x"})
		if wait > 0 {
			eventually(t, "they wait", func() bool { return g.Stats().Held == 2 })
			p.send(proto.KindCancel, proto.AppendCancel(proto.AppendCancel(nil, 1), 2))
		}
		p.results(2)
		p.tasks("soon", rawTask{3, ""})
		if r := p.results(1)[3]; r.Status != StatusOK {
			t.Errorf("after %v: %v", wait, r.Status)
		}
	}
}

// A context that is asked for when the deadline has passed says so.
func TestTaskContextAfterDeadline(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	began, answered, seen := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	g.HandleTask("task", func(task Task) {
		began <- struct{}{}
		go func() {
			<-answered
			seen <- task.Context().Err()
			task.Finish(nil, nil)
		}()
	})
	p := connect(t, g).greet(helloFor())
	p.write(tasksFrame(clockMillis()+300, "task", rawTask{0, ""}))
	within(t, "it begins", began)
	if r := p.results(1)[0]; r.Status != StatusTimeout {
		t.Errorf("status is %v", r.Status)
	}
	close(answered)
	if err := within(t, "it is asked", seen); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context ended with %v", err)
	}
}

// Answers of a table do not wait for a call behind them that takes its time.
func TestTableAnswersBeforeBlockedCall(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 1})
	g.HandleBatch("table", emulation{"x": {response: []byte("1")}}.runBatch)
	held := newGate(t)
	g.HandleCall("held", held.pass)
	p := connect(t, g).greet(helloFor())
	var tasks []rawTask
	for id := range uint32(200) { // more than the reader runs itself
		tasks = append(tasks, rawTask{id, "x"})
	}
	p.write(append(tasksFrame(0, "table", tasks...), tasksFrame(0, "held", rawTask{1000, ""})...))
	within(t, "the call blocks", held.arrived)
	p.results(len(tasks))
}

// Tasks that are over, and share their frames with one that is not, are bounded: they keep memory.
func TestTaskFramesOfStragglersAreBounded(t *testing.T) {
	const window = 100
	g := startGateway(t, GatewayConfig{Window: window})
	held := newGate(t)
	g.HandleCall("some", func(ctx context.Context, in []byte) ([]byte, error) {
		if string(in) == "held" {
			return held.pass(ctx, in)
		}
		return nil, nil
	})
	p := connect(t, g).greet(helloFor())
	busy := false
	for frame := uint32(0); frame < 2*mostBatched && !busy; frame++ {
		tasks := []rawTask{{frame, "held"}}
		for id := uint32(2 * mostBatched); id < window; id++ {
			tasks = append(tasks, rawTask{id, ""})
		}
		p.tasks("some", tasks...)
		for _, r := range p.results(len(tasks) - 1) {
			busy = busy || r.Status == StatusBusy
		}
	}
	if !busy {
		t.Error("there is no bound")
	}
	held.release()
}
