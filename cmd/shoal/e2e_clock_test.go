package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// jumping builds shoal once with a clock that goes back an hour and forward again every 100 ms, as if somebody set it: what
// time.Now says of the wall, that is. The readings that only go forward, and the system's own times, are left alone.
var jumping = sync.OnceValues(func() (string, error) {
	plain, err := binary()
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	code, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(code), now, now+"\tif (mono-startNano)/100_000_000%2 == 1 {\n\t\tsec -= 3600\n\t}\n", 1)
	if changed == string(code) {
		return "", errOtherNow
	}
	dir := filepath.Dir(plain)
	clock, overlay, path := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "shoal-jumping")
	if err := os.WriteFile(clock, []byte(changed), 0o644); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: clock}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

var errOtherNow = errors.New("time.Now is written in another way in this Go: the clock cannot be made to jump")

// cutAgain passes connections on to a gateway and cuts each after a while, but none before the gateway has answered more on it
// than its welcome: so every connection gets something done, however busy the machine is. It returns the address to dial.
func cutAgain(t *testing.T, url string, after time.Duration) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	running.Go(func() { // ends with the listener
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			gateway, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
			if err != nil {
				_ = client.Close()
				continue
			}
			cut := func() { _, _ = client.Close(), gateway.Close() }
			begun := time.Now()
			running.Go(func() { _, _ = io.Copy(gateway, client); cut() })
			running.Go(func() {
				defer cut()
				buf := make([]byte, 32<<10)
				for reads := 1; ; reads++ {
					n, err := gateway.Read(buf)
					if err != nil || reads > 2 && time.Since(begun) > after {
						return // with what was read
					}
					if _, err := client.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	return "tcp://" + ln.Addr().String()
}

// A clock that is set back by an hour, again and again and at both ends, breaks nothing: no deadline passes early or late,
// no silence is taken for longer than it is, no time is counted wrongly.
func TestFaultClockSetBack(t *testing.T) {
	t.Parallel()
	path, err := jumping()
	if errors.Is(err, errOtherNow) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	jump := func(c *exec.Cmd) { c.Path = path }
	const n = 400
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "host%d:do:%d:0.%03d\n", i, i, 1+i*7%600)
	}
	from, to := tree(t, 3<<20), t.TempDir()
	g := serveWith(t, jump, "--table", file(t, lines.String()+"host:never:1:600\n"), "--log-level", "debug",
		"--idle-timeout", "5s", "--session-timeout", "60s", "--drain-timeout", "2s", "--root", to, "--writable")
	url := cutAgain(t, g.urls[0], 150*time.Millisecond)
	client := func(status int, args ...string) outcome {
		t.Helper()
		r := start(t, jump, append([]string{"client", "--gateway", url}, args...)...)
		got := r.wait()
		return outcome{r.stdout.String(), r.stderr.String(), got}.want(t, status)
	}
	var tasks [2]strings.Builder // the first is half of the second
	for i := range n {
		fmt.Fprintf(&tasks[1], "host%d:do\n", i)
		if i%2 == 0 {
			fmt.Fprintf(&tasks[0], "host%d:do\n", i)
		}
	}
	log := filepath.Join(t.TempDir(), "run.log")
	for _, commands := range tasks {
		o := client(exitOK, "run", file(t, commands.String()), "--output", "jsonl", "--timeout", "20m", "--retries", "2", "--job-log", log, "--resume")
		if len(o.lines()) != n/2 {
			t.Errorf("%d results, want %d", len(o.lines()), n/2)
		}
		checkTimes(t, o, func(elapsed time.Duration) bool { return elapsed > 0 && elapsed < 20*time.Minute })
	}
	if o := client(exitOK, "run", file(t, tasks[1].String()), "--job-log", log, "--resume"); o.stdout != "" {
		t.Errorf("what is done runs again: %.200s", o.stdout)
	}
	late := client(exitUnknown, "run", file(t, "host:never\nhost:never\n"), "--output", "jsonl", "--timeout", "700ms")
	checkTimes(t, late, func(elapsed time.Duration) bool { return elapsed >= 690*time.Millisecond && elapsed < 20*time.Minute })
	client(exitOK, "put", from+"/", "--to", "here", "--bwlimit", "8M")
	client(exitOK, "get", "here", "--to", to+"/back")
	sameTrees(t, to+"/here", from)
	sameTrees(t, to+"/back/here", from)
	if o := client(exitOK, "put", from+"/", "--to", "here"); !strings.Contains(o.stderr, "put 0 files, 302 kept") {
		t.Errorf("put again: %s", o.stderr)
	}
	g.signal(syscall.SIGTERM)
	status := g.wait()
	if strings.Contains(g.stderr.String(), ": 0 tasks and 0 streams") {
		status = exitOK // a client ended while one of its connections was cut: the drain waits for the session, and no longer than it may
	}
	if status != exitOK {
		t.Errorf("the server ends with %d: %s", status, g.stderr.String())
	}
	if back := timesBack(g.stderr.String()); back < 3 {
		t.Errorf("its clock went back %d times: this test shows nothing", back)
	}
	if !strings.Contains(g.stderr.String(), "resumed=true") {
		t.Error("no connection came back: this test shows less than it should")
	}
}

// checkTimes checks elapsed_ms of each line.
func checkTimes(t *testing.T, o outcome, fine func(elapsed time.Duration) bool) {
	t.Helper()
	for _, line := range o.lines() {
		var r struct {
			Elapsed float64 `json:"elapsed_ms"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || !fine(time.Duration(r.Elapsed*float64(time.Millisecond))) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// timesBack counts how often a log goes back by most of an hour.
func timesBack(log string) (n int) {
	var last time.Time
	for line := range strings.Lines(log) {
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil {
			continue
		}
		if last.Sub(at) > 50*time.Minute {
			n++
		}
		last = at
	}
	return n
}
