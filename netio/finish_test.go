package netio

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// finishAgain finishes a task that is over, and returns what that panics with.
func finishAgain(task Task, later bool) (err error) {
	defer func() { err, _ = recover().(error) }()
	if later {
		task.FinishAfter(time.Millisecond, []byte("of another"), nil)
	} else {
		task.Finish([]byte("of another"), nil)
	}
	return nil
}

// A subroutine that finishes a task twice is told so where it does that. Other clients, whose tasks have the memory by then, do
// not notice.
func TestFinishTwice(t *testing.T) {
	for _, later := range []bool{false, true} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("later %v, batch %v", later, many), func(t *testing.T) {
				g := startGateway(t, GatewayConfig{Workers: 8})
				var mu sync.Mutex
				var over []Task
				end := func(task Task) {
					mu.Lock()
					over = append(over, task)
					mu.Unlock()
					task.Finish(task.Body(), nil)
				}
				honest := func(task Task) { go task.Finish(append([]byte("for "), task.Body()...), nil) }
				if many {
					g.HandleBatch("sloppy", func(tasks []Task) {
						for _, task := range tasks {
							end(task)
						}
					})
				} else {
					g.HandleTask("sloppy", end)
				}
				g.HandleTask("honest", honest)
				p, other := connect(t, g).greet(helloFor()), connect(t, g).greet(helloFor())
				for round := range 200 {
					p.tasks("sloppy", rawTask{0, "x"}, rawTask{1, "y"})
					p.results(2)
					body := fmt.Sprint(round)
					other.tasks("honest", rawTask{0, body}, rawTask{1, body})
					mu.Lock()
					stale := over[len(over)-1]
					mu.Unlock()
					eventually(t, "the first end is done", func() bool { return !stale.current() || stale.t.state.word.Load()&endBits == endFinished })
					if err := finishAgain(stale, later); !errors.Is(err, ErrFinished) || !contains(err, "sloppy") {
						t.Fatalf("finished twice: %v", err)
					}
					for id, r := range other.results(2) {
						if string(r.Body) != "for "+body {
							t.Fatalf("task %d of the other client is answered %q", id, r.Body)
						}
					}
					if round%50 == 0 && !stale.current() && (stale.Body() != nil || stale.Context().Err() == nil) {
						t.Fatalf("a task that is over has a body of %d bytes, or a context", len(stale.Body()))
					}
				}
				eventually(t, "all slots are free", func() bool { s := g.Stats(); return s.Running+s.Held+s.Queued == 0 })
				if n := g.Stats().Panics; n != 0 {
					t.Errorf("%d panics", n)
				}
			})
		}
	}
}

// Where the function itself finishes twice, it is its own task that ends as panicked, or as it was finished first.
func TestFinishTwiceInTheFunction(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleTask("twice", func(task Task) {
		task.Finish([]byte("once"), nil)
		task.Finish([]byte("twice"), nil)
	})
	g.HandleTask("twice after a wait", func(task Task) {
		task.FinishAfter(time.Hour, []byte("once"), nil)
		task.Finish([]byte("twice"), nil)
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("twice", rawTask{0, ""})
	if r := p.results(1)[0]; string(r.Body) != "once" {
		t.Errorf("%v", r)
	}
	p.tasks("twice after a wait", rawTask{1, ""})
	if r := p.results(1)[1]; r.Status != StatusPanicked {
		t.Errorf("%v", r)
	}
	eventually(t, "all slots are free, and the panics counted", func() bool { s := g.Stats(); return s.Running+s.Held == 0 && s.Panics == 2 })
	p.echo()
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
