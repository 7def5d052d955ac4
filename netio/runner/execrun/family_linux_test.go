package execrun

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shoal/netio/runner"
)

// hostile are scripts that try to leave something behind. Each writes "up" once it has done so; $0 in it is a mark that
// every process of it carries in its arguments. The second field says whether a process group alone holds it.
var hostile = map[string]struct {
	script  string
	byGroup bool
}{
	"deaf":            {`trap '' TERM INT HUP; echo up; while :; do sleep 1000; done`, true},
	"background":      {`sh -c 'echo up; while :; do sleep 1; done' $0 & wait`, true},
	"left behind":     {`sh -c 'echo up; while :; do sleep 1; done' $0 & exit 0`, true},
	"nohup":           {`nohup sh -c 'echo up; while :; do sleep 1; done' $0 & sleep 1000`, true},
	"setsid":          {`setsid sh -c 'echo up; while :; do sleep 1; done' $0 & wait`, false},
	"double fork":     {`(setsid sh -c '(trap "" TERM HUP; echo up; exec >/dev/null 2>&1 </dev/null; while :; do sleep 1; done) & exit 0' $0 &) ; sleep 1000`, false},
	"clean slate":     {`(env -i PATH="$PATH" setsid sh -c 'cd /; echo up; exec >/dev/null 2>&1; while :; do sleep 1; done' $0 &) ; sleep 1000`, false},
	"daemon, and end": {`(setsid sh -c 'trap "" TERM HUP; echo up; exec >/dev/null 2>&1; while :; do sleep 1; done' $0 &) ; exit 0`, false},
	"holds the pipe":  {`setsid sh -c 'setsid sh -c "echo up; sleep 1000" $0 & exit 0' $0; exit 0`, false},
	"forks and forks": {`setsid sh -c 'echo up; while :; do (sh -c "sleep 0.2" $0 &); sleep 0.005; done' $0 & wait`, false},
}

// mark is what the processes of a test carry.
func mark(t *testing.T, n int) string {
	return fmt.Sprintf("shoal-test-%d-%s-%d", os.Getpid(), strings.NewReplacer("/", "-", " ", "-", ",", "", "_", "-").Replace(t.Name()), n)
}

// TestNoProcessSurvivesItsTask ends hostile programs in every way that a task can end. When Run has returned nobody may be left.
func TestNoProcessSurvivesItsTask(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is not installed")
	}
	for _, kind := range keeperKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for name, h := range hostile {
				if kind == "group" && !h.byGroup {
					continue
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := newRunner(t, kind, Config{})
					for i, way := range []func(*testing.T, *Runner, *runner.Request){byCancel, byTimeout, byClose} {
						req := &runner.Request{Target: "here", Argv: []string{"sh", "-c", h.script, mark(t, i)}}
						way(t, r, req)
						if left := tagged(t, mark(t, i)); len(left) > 0 {
							t.Errorf("left behind: %q", left)
						}
					}
				})
			}
		})
	}
}

func byCancel(t *testing.T, r *Runner, req *runner.Request) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rec := r.Run(ctx, req, func(runner.Stream, []byte) error {
		cancel() // it is up
		return nil
	})
	kept(t, rec, runner.ReasonCanceled)
}

func byTimeout(t *testing.T, r *Runner, req *runner.Request) {
	patiently(t, func(limit time.Duration) (bool, any) {
		req.Timeout = limit
		rec := r.Run(t.Context(), req, nil)
		return strings.HasPrefix(string(rec.Stdout), "up\n") || rec.Exited && rec.Reason == "", rec
	})
}

func byClose(t *testing.T, r *Runner, req *runner.Request) {
	var closing sync.WaitGroup
	var once sync.Once
	rec := r.Run(t.Context(), req, func(runner.Stream, []byte) error {
		once.Do(func() {
			closing.Go(func() { _ = r.Close() })
			<-r.ended.Done()
		})
		return nil
	})
	if rec.Reason == "" { // it ended by itself
		_ = r.Close()
	} else {
		kept(t, rec, runner.ReasonCanceled)
	}
	closing.Wait()
	if rec := r.Run(t.Context(), req, nil); rec.Reason != runner.ReasonCanceled || rec.Stage != runner.StageNone {
		t.Errorf("after Close: %+v", rec)
	}
}

// kept checks that what had come is in the record. A program that ended by itself at the same time is as good.
func kept(t *testing.T, rec *runner.Record, reason runner.Reason) {
	t.Helper()
	if rec.Reason != reason && rec.Reason != "" || !strings.HasPrefix(string(rec.Stdout), "up\n") && rec.Reason != "" {
		t.Errorf("%+v, %q", rec, rec.Stdout)
	}
}

// TestManyHostileTimeouts has hostile programs time out side by side.
func TestManyHostileTimeouts(t *testing.T) {
	t.Parallel()
	total := 60
	if n := os.Getenv("SHOAL_HOSTILE"); n != "" {
		_, _ = fmt.Sscan(n, &total)
	}
	r := newRunner(t, "cgroup", Config{MaxProcesses: 32})
	var all sync.WaitGroup
	scripts := []string{hostile["deaf"].script, hostile["double fork"].script, hostile["setsid"].script, hostile["holds the pipe"].script}
	for i := range total {
		all.Go(func() {
			r.Run(t.Context(), &runner.Request{Argv: []string{"sh", "-c", scripts[i%len(scripts)], mark(t, i)}, Timeout: 300 * time.Millisecond}, nil)
		})
	}
	all.Wait()
	if left := tagged(t, mark(t, 0)[:len(mark(t, 0))-1]); len(left) > 0 {
		t.Errorf("%d are left: %q", len(left), left)
	}
}

// TestGroupsOfAKilledGatewayAreEmptied leaves a group with a process in it, as a gateway does that is killed.
func TestGroupsOfAKilledGatewayAreEmptied(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "cgroup", Config{})
	k := r.keeper.(*cgroups)
	left := &cgroups{base: k.base + "left"} // its name has the prefix, and nobody holds its lock
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var started task
	for try := 0; started == nil; try++ { // the gateways of other tests empty it, too, as soon as it is there
		if err := os.Mkdir(left.base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		started, err = left.start(&launch{path: "/bin/sh", argv: []string{"sh", "-c", "while :; do sleep 1; done"}, files: [3]*os.File{null, null, null}})
		if err != nil && try == 100 {
			t.Fatal(err)
		}
		if err != nil {
			started = nil
		}
	}
	next := newRunner(t, "cgroup", Config{})
	if next.keeper.(*cgroups).base == k.base {
		t.Error("two runners share a folder")
	}
	if end, err := started.wait(); err != nil || end.signal != "KILL" {
		t.Errorf("the process that was left behind: %+v, %v", end, err)
	}
	if _, err := os.Stat(left.base); err == nil {
		t.Errorf("%s is still there", left.base)
	}
	if _, err := os.Stat(k.base); err != nil {
		t.Errorf("the group of a living gateway: %v", err)
	}
}

// TestSupervisorOutlivesTheGateway closes the control pipe, as the death of a gateway does.
func TestSupervisorOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	started, out := startShell(t, supervisors{}, hostile["double fork"].script, mark(t, 0))
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	_ = started.(*supervisedTask).control.Close()
	<-started.exited()
	if left := tagged(t, mark(t, 0)); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if end, err := started.wait(); err != nil || end.signal != "KILL" {
		t.Errorf("%+v, %v", end, err)
	}
}

// startShell has a keeper start a script of a shell, whose output is read from out.
func startShell(t *testing.T, k keeper, script string, args ...string) (started task, out *os.File) {
	t.Helper()
	out, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	started, err = k.start(&launch{path: "/bin/sh", argv: append([]string{"sh", "-c", script}, args...),
		env: []string{"PATH=" + os.Getenv("PATH")}, files: [3]*os.File{null, ours, null}})
	_ = ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	return started, out
}

// manyChildren starts many processes, says their ids and then that they are up.
const manyChildren = `i=0; while [ $i -lt 40 ]; do sleep 1000 & echo $!; i=$((i+1)); done; echo up; wait`

// startMany has a keeper start manyChildren, and returns the task and the ids once all are up.
func startMany(t *testing.T, k keeper) (started task, pids []int) {
	t.Helper()
	started, out := startShell(t, k, manyChildren)
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "up"; {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return started, pids
}

// TestKillWaitsForTheFamily kills so many processes that the last has not ended when the kill is ordered.
func TestKillWaitsForTheFamily(t *testing.T) {
	t.Parallel()
	t.Run("cgroup", func(t *testing.T) {
		r := newRunner(t, "cgroup", Config{})
		started, pids := startMany(t, r.keeper)
		if err := started.kill(); err != nil || len(pids) != 40 {
			t.Errorf("%v, %d processes", err, len(pids))
		}
		if empty, err := started.(*cgroupTask).group.empty(); err != nil || !empty {
			t.Errorf("kill has returned, and the group is not empty: %v", err)
		}
		_, _ = started.wait()
	})
	t.Run("supervisor", func(t *testing.T) {
		started, pids := startMany(t, supervisors{})
		if err := started.kill(); err != nil || len(pids) != 40 {
			t.Errorf("%v, %d processes", err, len(pids))
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Errorf("kill has returned, and process %d is there: %v", pid, err)
				break
			}
		}
		_, _ = started.wait()
	})
}
