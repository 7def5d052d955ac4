package netio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// A BatchFunc gets all tasks of a frame, some at a time, each once; whatever it finishes has its own answer.
func TestBatchAnswers(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var most atomic.Int64
	g.HandleBatch("many", func(tasks []Task) {
		most.Store(max(most.Load(), int64(len(tasks))))
		for i := range tasks {
			switch task := tasks[i]; i % 3 {
			case 0:
				task.Finish(task.Body(), nil)
			case 1:
				task.Finish(nil, fmt.Errorf("not %s", task.Body()))
			default:
				task.FinishAfter(time.Millisecond, task.Body(), nil)
			}
		}
	})
	p := connect(t, g).greet(helloFor())
	const n = 200
	var tasks []rawTask
	for id := range uint32(n) {
		tasks = append(tasks, rawTask{id, fmt.Sprint("body ", id)})
	}
	p.tasks("many", tasks...)
	for id, r := range p.results(n) {
		switch want := fmt.Sprint("body ", id); {
		case r.Status == StatusOK && string(r.Body) != want:
			t.Errorf("task %d got %q", id, r.Body)
		case r.Status != StatusOK && r.Status != StatusFailed:
			t.Errorf("task %d ended as %v", id, r.Status)
		}
	}
	if m := most.Load(); m < 2 || m > batchLimit {
		t.Errorf("at most %d tasks at once", m)
	}
	eventually(t, "the slots are free", func() bool { s := g.Stats(); return s.Held+s.Running == 0 })
	p.echo()
}

// Tasks that a BatchFunc leaves to others are held until these finish them; its other answers do not wait for them.
func TestBatchFinishesLater(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	later := make(chan Task, 10)
	g.HandleBatch("some later", func(tasks []Task) {
		for i := range tasks {
			if string(tasks[i].Body()) == "later" {
				later <- tasks[i]
			} else {
				tasks[i].Finish([]byte("now"), nil)
			}
		}
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("some later", rawTask{0, "later"}, rawTask{1, ""}, rawTask{2, "later"}, rawTask{3, "later"})
	if r := p.results(1)[1]; string(r.Body) != "now" {
		t.Fatalf("the finished one is answered with %v", r)
	}
	eventually(t, "three are held", func() bool { return g.Stats().Held == 3 })
	p.send(proto.KindCancel, proto.AppendCancel(nil, 3))
	if r := p.results(1)[3]; r.Status != StatusCanceled {
		t.Errorf("the cancelled one ends as %v", r.Status)
	}
	var working sync.WaitGroup
	for range 3 {
		working.Go(func() {
			task := <-later
			task.Finish([]byte("then"), nil)
		})
	}
	working.Wait()
	for id, r := range p.results(2) {
		if string(r.Body) != "then" {
			t.Errorf("task %d: %v", id, r)
		}
	}
	eventually(t, "the slots are free", func() bool { return g.Stats().Held == 0 })
}

// Finish may race with the return of the BatchFunc.
func TestBatchFinishWhileReturning(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var working sync.WaitGroup
	defer working.Wait()
	g.HandleBatch("race", func(tasks []Task) {
		for i := range tasks {
			task := tasks[i]
			working.Go(func() { task.Finish([]byte("done"), nil) })
		}
	})
	p := connect(t, g).greet(helloFor())
	for range 50 {
		var tasks []rawTask
		for id := range uint32(20) {
			tasks = append(tasks, rawTask{id, ""})
		}
		p.tasks("race", tasks...)
		for id, r := range p.results(len(tasks)) {
			if string(r.Body) != "done" {
				t.Fatalf("task %d: %v", id, r)
			}
		}
	}
	eventually(t, "the slots are free", func() bool { s := g.Stats(); return s.Held+s.Running == 0 })
}

// A panic ends the tasks of its call as panicked, and nothing else.
func TestBatchPanics(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleBatch("oops", func(tasks []Task) {
		tasks[0].Finish([]byte("before"), nil)
		panic("oops")
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("oops", rawTask{0, ""}, rawTask{1, ""}, rawTask{2, ""})
	for id, r := range p.results(3) {
		if r.Status != StatusPanicked {
			t.Errorf("task %d ended as %v", id, r.Status)
		}
	}
	eventually(t, "the slots are free", func() bool { s := g.Stats(); return s.Held+s.Running == 0 })
	p.echo()
}

// The context of a task ends with it; interceptors see each task of a batch.
func TestBatchContextAndInterceptors(t *testing.T) {
	for _, intercepted := range []bool{false, true} {
		var seen atomic.Int64
		var config GatewayConfig
		if intercepted {
			config.Interceptors = []Interceptor{func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
				seen.Add(1)
				return next(ctx, c)
			}}
		}
		g := startGateway(t, config)
		contexts := make(chan context.Context, 10)
		g.HandleBatch("contexts", func(tasks []Task) {
			for i := range tasks {
				contexts <- tasks[i].Context()
				tasks[i].Finish(nil, nil)
			}
		})
		p := connect(t, g).greet(helloFor())
		p.tasks("contexts", rawTask{0, ""}, rawTask{1, ""}, rawTask{2, ""})
		p.results(3)
		for range 3 {
			within(t, "the context ends", (<-contexts).Done())
		}
		if n := seen.Load(); intercepted && n != 3 {
			t.Errorf("the interceptor saw %d tasks", n)
		}
	}
}

// Who waits in the queue when a drain begins is refused.
func TestBatchDrains(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 1})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	g.HandleBatch("many", func(tasks []Task) {
		for i := range tasks {
			tasks[i].Finish(nil, errors.New("it ran"))
		}
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("held", rawTask{0, ""})
	within(t, "the worker is busy", held.arrived)
	p.tasks("many", rawTask{1, ""}, rawTask{2, ""})
	eventually(t, "they wait", func() bool { return g.Stats().Queued == 2 })
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(testContext(t)) }()
	p.expect(proto.KindDrain)
	held.release()
	all := p.results(3)
	if all[1].Status != StatusDraining || all[2].Status != StatusDraining || all[0].Status != StatusOK {
		t.Errorf("results are %v", all)
	}
	if err := within(t, "the end", done); err != nil {
		t.Error(err)
	}
}
