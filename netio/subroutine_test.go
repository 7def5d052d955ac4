package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSubroutineReplacedWhileItRuns(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	held := newGate(t)
	g.HandleCall("job", held.pass)
	g.HandleStream("stream", func(ctx context.Context, in []byte, out *Stream) error {
		_, _ = held.pass(ctx, in)
		return out.Send(1, nil)
	})
	old := s.Go(testContext(t), "job", nil)
	st, err := s.OpenStream(testContext(t), "stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "one runs", held.arrived)
	within(t, "both run", held.arrived)
	g.HandleCall("job", func(context.Context, []byte) ([]byte, error) { return []byte("new"), nil })
	g.Remove("stream")
	if out, err := s.Call(testContext(t), "job", nil); err != nil || string(out) != "new" {
		t.Errorf("%q, %v", out, err)
	}
	if err := s.StreamFunc(testContext(t), "stream", nil, func(Chunk) bool { return true }); !errors.Is(err, ErrUnknownSubroutine) {
		t.Errorf("removed: %v", err)
	}
	held.release()
	if out, err := old.Result(); err != nil || string(out) != "through" {
		t.Errorf("the old one: %q, %v", out, err)
	}
	if ident, _, err := st.Recv(); ident != 1 || err != nil {
		t.Errorf("the old stream: %d, %v", ident, err)
	}
	if _, _, err := st.Recv(); err != io.EOF {
		t.Errorf("the old stream ends with %v", err)
	}
	g.HandleStream("job", func(context.Context, []byte, *Stream) error { return nil }) // of another shape
	if _, err := s.Call(testContext(t), "job", nil); !errors.Is(err, ErrWrongShape) {
		t.Errorf("error is %v", err)
	}
}

func TestSubroutinesChangeWhileManyCall(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	ctx, stop := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			g.HandleCall("job", func(context.Context, []byte) ([]byte, error) { return fmt.Append(nil, i), nil })
			g.Describe("job", fmt.Sprint("version ", i))
			g.Remove("job")
		}
	})
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Call(testContext(t), "job", nil); err != nil && !errors.Is(err, ErrUnknownSubroutine) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestSubroutineList(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	g.HandleSend("store", func(context.Context, []byte, io.Reader) ([]byte, error) { return nil, nil })
	g.Describe("store", "keeps it")
	g.Describe("nobody", "is not there")
	list, err := dial(t, g.URLs()[0], nil).GatewaySubroutines(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []SubroutineInfo{{"echo", ShapeCall, ""}, {"count", ShapeStream, ""}, {"echo stream", ShapeDuplex, ""}, {"store", ShapeSend, "keeps it"}} {
		if !slices.Contains(list, want) {
			t.Errorf("%+v is not in %+v", want, list)
		}
	}
	if !slices.IsSortedFunc(list, func(a, b SubroutineInfo) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the list is not sorted")
	}
	for _, name := range []string{"", strings.Repeat("n", 256)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a name of %d bytes is taken", len(name))
				}
			}()
			g.HandleCall(name, nil)
		}()
	}
}

// What cannot be registered panics with an error that says why, and takes nothing's place.
func TestRegisterMistakes(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	echo := func(_ context.Context, in []byte) ([]byte, error) { return in, nil }
	for _, c := range []struct {
		want     error
		register func()
	}{
		{ErrNoFunction, func() { g.HandleCall("echo", nil) }},
		{ErrNoFunction, func() { g.HandleTask("echo", nil) }},
		{ErrNoFunction, func() { g.HandleBatch("echo", nil) }},
		{ErrNoFunction, func() { g.HandleStream("echo", nil) }},
		{ErrNoFunction, func() { g.HandleSend("echo", nil) }},
		{ErrNoFunction, func() { g.HandleDuplex("echo", nil) }},
		{ErrReservedName, func() { g.HandleCall("shoal.list", echo) }},
		{ErrReservedName, func() { g.HandleCall("shoal.stop", echo) }},
		{ErrReservedName, func() { g.HandleCall("shoal.stats", echo) }},
	} {
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, c.want) {
					t.Errorf("panics with %v, want %v", err, c.want)
				}
			}()
			c.register()
		}()
	}
	s := dial(t, g.URLs()[0], nil)
	if out, err := s.Call(testContext(t), "echo", []byte("there")); err != nil || string(out) != "there" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := s.GatewayStats(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestJSON(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("square", JSON(func(_ context.Context, n int) (int, error) { return n * n, nil }))
	g.HandleCall("count", JSON(func(_ context.Context, words []string) (map[string]int, error) {
		if len(words) == 0 {
			return nil, &StatusError{Code: 2000, Text: "no words"}
		}
		m := map[string]int{}
		for _, w := range words {
			m[w]++
		}
		return m, nil
	}))
	g.HandleCall("channel", JSON(func(context.Context, int) (chan int, error) { return nil, nil }))
	s := dial(t, g.URLs()[0], nil)
	ctx := testContext(t)
	if n, err := CallJSON[int](ctx, s, "square", 12); err != nil || n != 144 {
		t.Errorf("%d, %v", n, err)
	}
	if m, err := CallJSON[map[string]int](ctx, s, "count", []string{"a", "b", "a"}); err != nil || m["a"] != 2 || m["b"] != 1 {
		t.Errorf("%v, %v", m, err)
	}
	var te *TaskError
	if _, err := CallJSON[map[string]int](ctx, s, "count", nil); !errors.As(err, &te) || te.Code != 2000 {
		t.Errorf("error is %v", err)
	}
	if _, err := CallJSON[int](ctx, s, "square", "twelve"); !errors.Is(err, ErrBadArgument) || !errors.Is(err, ErrFailed) {
		t.Errorf("an argument of another type: %v", err)
	}
	if _, err := s.Call(ctx, "square", []byte("{")); !errors.Is(err, ErrBadArgument) {
		t.Errorf("an argument that is no JSON: %v", err)
	}
	if _, err := CallJSON[string](ctx, s, "square", 12); !errors.Is(err, ErrBadArgument) {
		t.Errorf("an answer of another type: %v", err)
	}
	if _, err := CallJSON[int](ctx, s, "square", make(chan int)); !errors.Is(err, ErrBadArgument) {
		t.Errorf("an argument that cannot be JSON: %v", err)
	}
	if _, err := CallJSON[int](ctx, s, "channel", 1); !errors.Is(err, ErrFailed) {
		t.Errorf("an answer that cannot be JSON: %v", err)
	}
}

// Where there is no argument, or no answer, that is null, and a pointer tells it from zero.
func TestJSONOfNothing(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("usage", JSON(func(context.Context, struct{}) (string, error) { return "half full", nil }))
	g.HandleCall("told", JSON(func(_ context.Context, n *int) (bool, error) { return n != nil, nil }))
	s := dial(t, g.URLs()[0], nil)
	for _, c := range []struct{ name, in, want string }{
		{"usage", "", `"half full"`}, {"usage", "{}", `"half full"`}, {"told", "", "false"}, {"told", "null", "false"}, {"told", "0", "true"},
	} {
		if out, err := s.Call(testContext(t), c.name, []byte(c.in)); err != nil || string(out) != c.want {
			t.Errorf("%s %q: %q, %v", c.name, c.in, out, err)
		}
	}
	if _, err := s.Call(testContext(t), "told", []byte(" ")); !errors.Is(err, ErrBadArgument) {
		t.Errorf("a space is no JSON: %v", err)
	}
	g.HandleCall("nothing", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if n, err := CallJSON[int](testContext(t), s, "nothing", nil); n != 0 || err != nil {
		t.Errorf("no answer: %d, %v", n, err)
	}
}

// note returns an interceptor that writes down when it is entered and left.
func note(name string, mu *sync.Mutex, notes *[]string) Interceptor {
	add := func(what string, c *CallInfo) {
		mu.Lock()
		defer mu.Unlock()
		*notes = append(*notes, fmt.Sprintf("%s %s %s %s %s", what, name, c.Shape, c.Subroutine, c.Body))
	}
	return func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
		add("into", c)
		defer add("out of", c)
		return next(ctx, c)
	}
}

func TestInterceptorsOrder(t *testing.T) {
	var mu sync.Mutex
	var notes []string
	reset := func() {
		mu.Lock()
		defer mu.Unlock()
		notes = nil
	}
	g := startSends(t, GatewayConfig{Interceptors: []Interceptor{note("third", &mu, &notes), note("fourth", &mu, &notes)}})
	g.HandleTask("table", emulation{"x": {[]byte("1"), time.Millisecond}, "y": {[]byte("2"), 0}}.run)
	s := dial(t, g.URLs()[0], &SwarmConfig{Interceptors: []Interceptor{note("first", &mu, &notes), note("second", &mu, &notes)}})
	for _, c := range []struct {
		what string
		do   func() (string, error)
		want string
	}{
		{"call echo x", func() (string, error) {
			out, err := s.Call(testContext(t), "echo", []byte("x"))
			return string(out), err
		}, "x"},
		{"call table x", func() (string, error) {
			out, err := s.Call(testContext(t), "table", []byte("x"))
			return string(out), err
		}, "1"},
		{"call table y", func() (string, error) {
			out, err := s.Call(testContext(t), "table", []byte("y"))
			return string(out), err
		}, "2"},
		{"send sum x", func() (string, error) {
			out, err := s.Send(testContext(t), "sum", []byte("x"), &pattern{n: 3})
			return string(out), err
		}, wantSum("x", 3)},
	} {
		reset()
		if out, err := c.do(); err != nil || out != c.want {
			t.Errorf("%s: %q, %v", c.what, out, err)
		}
		want := []string{"into first " + c.what, "into second " + c.what, "into third " + c.what, "into fourth " + c.what,
			"out of fourth " + c.what, "out of third " + c.what, "out of second " + c.what, "out of first " + c.what}
		mu.Lock()
		if !slices.Equal(notes, want) {
			t.Errorf("%s: %q", c.what, notes)
		}
		mu.Unlock()
	}
	reset()
	if err := s.StreamFunc(testContext(t), "count", []byte("2"), func(Chunk) bool { return true }); err != nil {
		t.Error(err)
	}
	eventually(t, "the gateway's interceptors saw the stream", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(notes, "into third stream count 2") && slices.Contains(notes, "out of third stream count 2")
	})
	if _, err := s.Call(testContext(t), "panic", nil); !errors.Is(err, ErrPanicked) {
		t.Errorf("a panic inside interceptors: %v", err)
	}
}

func TestInterceptorRefusesChangesAndRepeats(t *testing.T) {
	var ran atomic.Int32
	checks := func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
		if c.Remote == "" || RemoteAddr(ctx) != c.Remote {
			return nil, fmt.Errorf("remote %q, peer %q", c.Remote, RemoteAddr(ctx))
		}
		switch string(c.Body) {
		case "refused":
			return nil, &StatusError{Status: StatusNotAllowed, Text: "not you"}
		case "changed":
			out, err := next(ctx, &CallInfo{Subroutine: c.Subroutine, Shape: c.Shape, Body: []byte("x"), Remote: c.Remote})
			return append(out, '!'), err
		case "twice":
			if _, err := next(ctx, c); err == nil {
				return nil, errors.New("no error the first time")
			}
			return next(ctx, c)
		}
		return next(ctx, c)
	}
	g := startStreams(t, GatewayConfig{Interceptors: []Interceptor{checks}})
	g.HandleTask("table", emulation{"x": {[]byte("1"), time.Millisecond}, "hour": {nil, time.Hour}}.run)
	g.HandleTask("fails first", func(task Task) {
		if ran.Add(1) == 1 {
			task.Finish(nil, errors.New("no"))
			return
		}
		task.FinishAfter(time.Millisecond, []byte("second"), nil)
	})
	s := dial(t, g.URLs()[0], nil)
	for _, name := range []string{"echo", "table"} {
		if _, err := s.Call(testContext(t), name, []byte("refused")); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.StreamFunc(testContext(t), "count", []byte("refused"), func(Chunk) bool { return true }); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a stream: %v", err)
	}
	if out, err := s.Call(testContext(t), "table", []byte("changed")); err != nil || string(out) != "1!" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := s.Call(testContext(t), "fails first", []byte("twice")); err != nil || string(out) != "second" {
		t.Errorf("%q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Call(ctx, "table", []byte("hour")); !errors.Is(err, ErrTimeout) {
		t.Errorf("a deadline under interceptors: %v", err)
	}
	eventually(t, "it leaves its worker", func() bool { return g.Stats().Running == 0 })
}

// missing is an error whose methods panic where it is nil, as those of most do.
type missing struct{ text string }

func (e *missing) Error() string { return e.text }

// An error that panics ends its task, whoever asks it for its text.
func TestSubroutineErrorThatPanics(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var none *missing
	g.HandleCall("call", func(context.Context, []byte) ([]byte, error) { return nil, none })
	g.HandleTask("finish", func(task Task) { task.Finish(nil, none) })
	g.HandleTask("later", func(task Task) { task.FinishAfter(time.Millisecond, nil, none) })
	g.HandleStream("stream", func(context.Context, []byte, *Stream) error { return none })
	g.HandleSend("send", func(context.Context, []byte, io.Reader) ([]byte, error) { return nil, none })
	s := dial(t, g.URLs()[0], nil)
	for _, name := range []string{"call", "finish", "later"} {
		if _, err := s.Call(testContext(t), name, nil); !errors.Is(err, ErrPanicked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.StreamFunc(testContext(t), "stream", nil, func(Chunk) bool { return true }); !errors.Is(err, ErrPanicked) {
		t.Errorf("stream: %v", err)
	}
	if _, err := s.Send(testContext(t), "send", nil, strings.NewReader("x")); !errors.Is(err, ErrPanicked) {
		t.Errorf("send: %v", err)
	}
}

// A status that no subroutine can end with is a failure, and nobody else's trouble.
func TestSubroutineFailureOfNoStatus(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("call", func(_ context.Context, in []byte) ([]byte, error) {
		return nil, &StatusError{Status: Status(in[0]), Text: "text"}
	})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	other := s.Go(testContext(t), "held", nil)
	within(t, "it runs", held.arrived)
	for _, status := range []Status{StatusOK, StatusLost, StatusNotAllowed + 1, 255} {
		if _, err := s.Call(testContext(t), "call", []byte{byte(status)}); StatusOf(err) != StatusFailed {
			t.Errorf("status %d: %v", status, err)
		}
	}
	held.release()
	if _, err := other.Result(); err != nil {
		t.Errorf("the other call: %v", err)
	}
}

// Describing a subroutine does not bring back what another goroutine has replaced meanwhile.
func TestDescribeWhileReplacing(t *testing.T) {
	g := NewGateway(GatewayConfig{})
	answer := func(text string) CallFunc {
		return func(context.Context, []byte) ([]byte, error) { return []byte(text), nil }
	}
	for range 5000 {
		g.HandleCall("x", answer("old"))
		described := make(chan struct{})
		go func() { g.Describe("x", "text"); close(described) }()
		g.HandleCall("x", answer("new"))
		<-described
		if out, _ := g.subroutines.find([]byte("x")).call(context.Background(), nil); string(out) != "new" {
			t.Fatal("the new one is gone")
		}
	}
}
