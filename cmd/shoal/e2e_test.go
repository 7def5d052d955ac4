package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests in files e2e_*_test.go run the built binary: real processes, real sockets. This file starts and ends them.

// soon is how long anything may take that a test waits for.
const soon = 3 * time.Minute

var buildFlags []string // with -race where the tests have it

// binary builds shoal once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shoal-e2e-*")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs it too
		return "", err
	}
	path := filepath.Join(dir, "shoal")
	args := append(append([]string{"build"}, buildFlags...), "-o", path, ".")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

var binaryDir string

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait more than they work
	status := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(status)
}

// text is what a process wrote, readable while it writes.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *text) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *text) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a process of shoal.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdin          io.WriteCloser // when start was given no input
	stdout, stderr text
	ended          chan struct{}
	status         int
}

// start starts shoal; set may change the command before. The test's end ends it.
func start(t *testing.T, set func(*exec.Cmd), args ...string) *running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SHOAL_") {
			r.cmd.Env = append(r.cmd.Env, v)
		}
	}
	r.cmd.WaitDelay = time.Second
	if set != nil {
		set(r.cmd)
	}
	if r.cmd.Stdin == nil {
		if r.stdin, err = r.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		_ = r.cmd.Wait()
		r.status = r.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { r.end() })
	return r
}

// end ends what still runs. Where the test has failed, it shows what the process was at: a test that hangs needs both ends.
func (r *running) end() {
	select {
	case <-r.ended:
		return
	default:
	}
	if !r.t.Failed() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-r.ended:
	case <-time.After(time.Second):
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	r.t.Logf("%v at the end:\n%s", r.cmd.Args, r.stderr.String())
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// wait waits for the end and returns the exit status.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(soon):
		_ = r.cmd.Process.Signal(syscall.SIGQUIT)
		<-r.ended
		r.t.Fatalf("%v did not end; standard error:\n%s", r.cmd.Args, r.stderr.String())
	}
	if err := r.stderr.String(); strings.Contains(err, "goroutine ") || strings.Contains(err, "DATA RACE") {
		r.t.Errorf("%v: a stack trace:\n%s", r.cmd.Args, err)
	}
	return r.status
}

// outcome is what came of a process that has ended.
type outcome struct {
	stdout, stderr string
	status         int
}

// shoal runs to its end with this standard input.
func shoal(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	r := start(t, func(c *exec.Cmd) { c.Stdin = strings.NewReader(stdin) }, args...)
	status := r.wait()
	return outcome{r.stdout.String(), r.stderr.String(), status}
}

// want checks a status and shows what else there was when it differs.
func (o outcome) want(t *testing.T, status int) outcome {
	t.Helper()
	if o.status != status {
		t.Fatalf("exit status %d, want %d; standard error:\n%s\nstandard output:\n%.2000s", o.status, status, o.stderr, o.stdout)
	}
	return o
}

// lines of standard output, without their ends.
func (o outcome) lines() []string {
	return strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
}

// gateway is a server that serves.
type gateway struct {
	*running
	urls []string
}

// serve starts a server on a free port, unless args say where to listen, and waits until it serves.
func serve(t *testing.T, args ...string) *gateway {
	t.Helper()
	return serveWith(t, nil, args...)
}

func serveWith(t *testing.T, set func(*exec.Cmd), args ...string) *gateway {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	args = append([]string{"server", "--ready-file", ready}, args...)
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		args = append(args, "--listen", "tcp://127.0.0.1:0")
	}
	g := &gateway{running: start(t, set, args...)}
	eventually(t, "the gateway serves", func() bool {
		select {
		case <-g.ended:
			t.Fatalf("server ended with %d:\n%s", g.status, g.stderr.String())
		default:
		}
		data, err := os.ReadFile(ready)
		g.urls = strings.Fields(string(data))
		return err == nil
	})
	return g
}

// client runs a client command against the gateway.
func (g *gateway) client(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	return shoal(t, stdin, append([]string{"client", "--gateway", g.urls[0]}, args...)...)
}

// eventually polls.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// file writes a file for a test and returns its name.
func file(t *testing.T, content string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "file-*")
	if err == nil {
		_, err = f.WriteString(content)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// socketPath is short enough for a unix socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sh-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}
