package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"shoal/netio"
	"shoal/netio/runner"
)

// echoRunner answers what it reads, on both outputs.
type echoRunner struct{}

func (echoRunner) Run(ctx context.Context, req *runner.Request, live runner.Live) *runner.Record {
	rec := runner.NewRecord("echo", req)
	if reason, refused := strings.CutPrefix(req.Command, "refuse "); refused {
		return rec.Fail(runner.Reason(reason), errors.New("as asked"))
	}
	rec.Enter(runner.StageRun)
	out := runner.NewOutput(req, nil, live)
	out.Take(runner.Stdout, req.Stdin)
	out.Take(runner.Stderr, req.Stdin)
	out.Into(rec)
	rec.Exited = true
	return rec.End()
}

func serve(t *testing.T) *netio.Swarm {
	t.Helper()
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	runner.Register(gw, "echo", echoRunner{})
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	s, err := netio.Dial(t.Context(), gw.URLs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestRecordCrossesTheWire(t *testing.T) {
	s := serve(t)
	noise := make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 3) // no UTF-8, so base64
	}
	rec, err := runner.Call(t.Context(), s, "echo", &runner.Request{Target: "a", Command: "b", Stdin: noise, Output: runner.MaxOutput, Attempt: 4})
	if err != nil {
		t.Fatal(err)
	}
	if !rec.OK() || rec.Target != "a" || rec.Command != "b" || rec.Attempt != 4 || rec.Runner != "echo" {
		t.Errorf("%+v", rec)
	}
	if len(rec.Stdout) != runner.MaxOutput || len(rec.Stderr) != runner.MaxOutput || rec.StdoutDropped != 1<<20 {
		t.Errorf("%d and %d bytes, %d dropped", len(rec.Stdout), len(rec.Stderr), rec.StdoutDropped)
	}
}

func TestOutputCrossesTheWireAsItComes(t *testing.T) {
	s := serve(t)
	got := map[runner.Stream]string{}
	rec, err := runner.CallLive(t.Context(), s, "echo", &runner.Request{Stdin: []byte("hello")}, func(stream runner.Stream, p []byte) error {
		got[stream] += string(p)
		return nil
	})
	if err != nil || !rec.OK() || string(rec.Stdout) != "hello" || fmt.Sprint(got) != "map[1:hello 2:hello]" {
		t.Errorf("%v, %+v, %v", err, rec, got)
	}
}

func TestWhatWasNotTriedIsTheStatusOfTheTask(t *testing.T) {
	s := serve(t)
	for reason, want := range map[runner.Reason]error{
		runner.ReasonNotAllowed: netio.ErrNotAllowed, runner.ReasonBusy: netio.ErrBusy, runner.ReasonBadRequest: netio.ErrBadArgument,
	} {
		for _, form := range []string{"call", "live"} {
			req := &runner.Request{Target: "web07", Command: "refuse " + string(reason)}
			var rec *runner.Record
			var err error
			if form == "call" {
				rec, err = runner.Call(t.Context(), s, "echo", req)
			} else {
				rec, err = runner.CallLive(t.Context(), s, "echo", req, nil)
			}
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "web07: none: as asked") {
				t.Errorf("%s, %s: %v", form, reason, err)
			}
			if reason != runner.ReasonBadRequest && (rec == nil || rec.Reason != reason) {
				t.Errorf("%s, %s: record %+v", form, reason, rec)
			}
		}
	}
	rec, err := runner.Call(t.Context(), s, "echo", &runner.Request{Target: "web07", Command: "refuse auth"})
	if err != nil || rec.Reason != runner.ReasonAuth || rec.OK() {
		t.Errorf("an outcome became %v, %+v", err, rec)
	}
	if _, err := s.Call(t.Context(), "echo", []byte("no JSON")); !errors.Is(err, netio.ErrBadArgument) {
		t.Errorf("no JSON: %v", err)
	}
}
