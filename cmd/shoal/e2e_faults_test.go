package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soak makes the tests of this file run their long form: a hundred kills in place of ten. go test ./cmd/shoal -run Fault -soak
var soak = flag.Bool("soak", false, "run the long form of the fault tests")

func kills() int {
	if *soak {
		return 100
	}
	return 10
}

// job is a table and commands for it, each task of which answers its own number after a few milliseconds.
func faultJob(t *testing.T, n int) (table, commands string) {
	var lines, tasks strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "host%d:do:%d:0.%03d\n", i, i, 1+i%30)
		fmt.Fprintf(&tasks, "host%d:do\n", i)
	}
	return file(t, lines.String()), file(t, tasks.String())
}

// checkComplete asserts that the output has each task's answer, exactly once unless it may come again.
func checkComplete(t *testing.T, n int, output string, again bool) {
	t.Helper()
	seen := make([]int, n)
	for line := range strings.Lines(output) {
		var host, answer int
		if _, err := fmt.Sscanf(line, "host%d:do\tok\t%d\n", &host, &answer); err != nil || host != answer || host >= n {
			t.Fatalf("a line is %q", line)
		}
		seen[host]++
	}
	for i, times := range seen {
		if times == 0 || times > 1 && !again {
			t.Fatalf("task %d was answered %d times", i, times)
		}
	}
}

func randomWait(most time.Duration) { time.Sleep(rand.N(most)) }

// freeAddress is one that a gateway can take again and again: its port is not among those that the system gives to outgoing
// connections while the gateway is away.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if ln, err := net.Listen("tcp", address); err == nil {
			_ = ln.Close()
			return "tcp://" + address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// A client that is killed again and again, and resumed each time, ends complete.
func TestFaultKillClient(t *testing.T) {
	t.Parallel()
	const n = 3000
	table, commands := faultJob(t, n)
	g := serve(t, "--table", table, "--workers", "64", "--session-timeout", "500ms") // the tasks of the dead run on for so long
	log := filepath.Join(t.TempDir(), "run.log")
	var output strings.Builder
	for range kills() {
		r := start(t, nil, "client", "--gateway", g.urls[0], "run", commands, "--job-log", log, "--resume")
		randomWait(120 * time.Millisecond)
		_ = r.cmd.Process.Kill()
		<-r.ended
		whole := r.stdout.String() // a last line may be cut off
		output.WriteString(whole[:strings.LastIndexByte(whole, '\n')+1])
	}
	last := g.client(t, "", "run", commands, "--job-log", log, "--resume").want(t, exitOK)
	output.WriteString(last.stdout)
	checkComplete(t, n, output.String(), true)
	if again := g.client(t, "", "run", commands, "--job-log", log, "--resume").want(t, exitOK); again.stdout != "" {
		t.Errorf("what is done runs again: %.200s", again.stdout)
	}
}

// A gateway that is killed again and again under a client that retries: nothing is lost, nothing is answered twice.
func TestFaultKillGateway(t *testing.T) {
	t.Parallel()
	for done := 0; done < kills(); done += 10 {
		restarts(t, 10, syscall.SIGKILL, "run", "--on-restart", "retry")
	}
}

// Map takes the same flags.
func TestFaultKillGatewayUnderMap(t *testing.T) {
	t.Parallel()
	restarts(t, 3, syscall.SIGKILL, "map", "--on-restart", "retry")
}

// A gateway that is restarted as it should be, ten times in a row under load: nothing is lost without any retry.
func TestFaultRollingRestarts(t *testing.T) {
	t.Parallel()
	restarts(t, 10, syscall.SIGTERM, "run")
	restarts(t, 10, syscall.SIGTERM, "run", "--on-restart", "retry")
}

// restarts ends the gateway again and again under a run of tasks, or a map of them.
func restarts(t *testing.T, n int, with syscall.Signal, command string, args ...string) {
	t.Helper()
	const tasks = 20_000
	table, commands := faultJob(t, tasks)
	address := freeAddress(t)
	serverArgs := []string{"--table", table, "--workers", "64", "--listen", address}
	g := serve(t, serverArgs...)
	tasksArgs, set := []string{"run", commands}, func(*exec.Cmd) {}
	if command == "map" {
		in, err := os.Open(commands)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		tasksArgs, set = []string{"map", "table", "--batch", "16"}, func(c *exec.Cmd) { c.Stdin = in }
	}
	args = append(tasksArgs, args...)
	client := start(t, set, append([]string{"client", "--gateway", address, "--wait", "5m"}, args...)...) // a gateway may live for less than a lane waits between two tries
	eventually(t, "the client is at work", func() bool { return client.stdout.String() != "" })
	restarted := 0
	for ; restarted < n; restarted++ {
		randomWait(100 * time.Millisecond)
		g.signal(with)
		<-g.ended
		g = serve(t, serverArgs...)
	}
	select {
	case <-client.ended:
		t.Log("the client was done before the last restart")
	default:
	}
	if status := client.wait(); status != exitOK {
		t.Fatalf("exit status %d: %s", status, client.stderr.String())
	}
	checkComplete(t, tasks, client.stdout.String(), false)
}

// A process that was stopped for longer than its peer waits for a sign of life goes on where it was.
func TestFaultStopped(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"client", "gateway"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			const n = 6000
			table, commands := faultJob(t, n)
			g := serve(t, "--table", table, "--workers", "64", "--idle-timeout", "300ms")
			client := start(t, nil, "client", "--gateway", g.urls[0], "run", commands)
			stopped := client
			if who == "gateway" {
				stopped = g.running
			}
			for range 2 {
				randomWait(300 * time.Millisecond)
				stopped.signal(syscall.SIGSTOP)
				time.Sleep(900 * time.Millisecond) // three times the idle timeout; nothing can be polled meanwhile
				stopped.signal(syscall.SIGCONT)
			}
			if status := client.wait(); status != exitOK {
				t.Fatalf("exit status %d: %s", status, client.stderr.String())
			}
			checkComplete(t, n, client.stdout.String(), false)
		})
	}
}

// A gateway out of descriptors keeps those that it has, and takes new ones when there is room.
func TestFaultDescriptors(t *testing.T) {
	t.Parallel()
	const n = 4000
	table, commands := faultJob(t, n)
	g := serveWith(t, func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -n 40 && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}, "--table", table, "--workers", "64", "--max-handlers", "1000")
	client := start(t, nil, "client", "--gateway", g.urls[0], "run", commands)
	eventually(t, "it is connected", func() bool { return client.stdout.String() != "" })
	var flood []net.Conn
	for range 200 {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(g.urls[0], "tcp://"), time.Second)
		if err != nil {
			break // the backlog is full too
		}
		flood = append(flood, conn)
	}
	eventually(t, "it is out of descriptors", func() bool { return strings.Contains(g.stderr.String(), "too many open files") })
	if status := client.wait(); status != exitOK {
		t.Fatalf("exit status %d: %s", status, client.stderr.String())
	}
	checkComplete(t, n, client.stdout.String(), false)
	late := start(t, nil, "client", "--gateway", g.urls[0], "--wait", "15s", "run", commands)
	for _, conn := range flood {
		_ = conn.Close()
	}
	if status := late.wait(); status != exitOK {
		t.Fatalf("afterwards: exit status %d: %s", status, late.stderr.String())
	}
}

// fullDisk is a file on a disk that is always full.
func fullDisk(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err) // only Linux has it
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	full := fullDisk(t)
	table, commands := faultJob(t, 2000)
	o := shoal(t, "", "client", "run", "--embedded", "--table", table, commands, "--job-log", full.Name()).want(t, exitInternal)
	if !strings.Contains(o.stderr, "job log /dev/full: no space left on device") {
		t.Errorf("it says %s", o.stderr)
	}
}

// A disk that is full when some of the log is written: the run ends and says so, what is in the log is done, and the next run
// does the rest. Nothing is in neither.
func TestFaultDiskFullHalfway(t *testing.T) {
	t.Parallel()
	const n = 2000
	table, commands := faultJob(t, n)
	log := filepath.Join(t.TempDir(), "run.log")
	args := []string{"client", "run", "--embedded", "--table", table, commands, "--job-log", log}
	r := start(t, func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -f 40 && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}, args...)
	first := outcome{status: r.wait(), stdout: r.stdout.String(), stderr: r.stderr.String()}.want(t, exitInternal)
	if !strings.Contains(first.stderr, "job log "+log+": file too large; what is not in it runs again with --resume") {
		t.Errorf("it says %s", first.stderr)
	}
	var ended, unsent int
	if _, err := fmt.Sscanf(first.stderr, "%d tasks:", &ended); err != nil {
		t.Error(err, first.stderr)
	}
	if _, before, ok := strings.Cut(first.stderr, "; sum "); ok {
		_, _ = fmt.Sscanf(before, "%d; %d tasks not sent", new(int), &unsent)
	}
	if ended+unsent != n || ended != strings.Count(first.stdout, "\n") {
		t.Errorf("%d tasks ended, %d lines, %d not sent: %s", ended, strings.Count(first.stdout, "\n"), unsent, first.stderr)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	logged := strings.Count(string(data), "\n") - 1 // without the line that names the job
	if logged == 0 || logged >= n {
		t.Fatalf("%d tasks are in the log", logged)
	}
	second := shoal(t, "", append(args, "--resume")...).want(t, exitOK)
	if got := strings.Count(second.stdout, "\n"); got < n-logged || got > n-logged+strings.Count(string(data), "canceled") {
		t.Errorf("%d tasks are in the log, and %d ran again", logged, got)
	}
	var done strings.Builder
	for line := range strings.Lines(first.stdout) {
		if strings.Contains(line, "\tok\t") {
			done.WriteString(line)
		}
	}
	checkComplete(t, n, done.String()+second.stdout, true)
}

// A task whose result could not be written is not done: the next run brings it.
func TestFaultOutputFull(t *testing.T) {
	t.Parallel()
	full := fullDisk(t)
	const n = 2000
	table, commands := faultJob(t, n)
	log := filepath.Join(t.TempDir(), "run.log")
	args := []string{"client", "run", "--embedded", "--table", table, commands, "--job-log", log}
	r := start(t, func(c *exec.Cmd) { c.Stdout = full }, args...)
	if status := r.wait(); status != exitInternal {
		t.Errorf("exit status %d: %s", status, r.stderr.String())
	}
	checkComplete(t, n, shoal(t, "", append(args, "--resume")...).want(t, exitOK).stdout, false)
}

// The commands file may be edited between two runs: lines are known by what they say, not by where they stand.
func TestFaultResumeEdited(t *testing.T) {
	t.Parallel()
	table := file(t, "a:x:1:0\nb:x:2:0\nc:x:3:0\n")
	log := filepath.Join(t.TempDir(), "run.log")
	run := func(commands string, status int, args ...string) string {
		args = append([]string{"client", "run", "--embedded", "--table", table, "--keep-order", "--job-log", log, file(t, commands)}, args...)
		return shoal(t, "", args...).want(t, status).stdout
	}
	run("a:x\nb:x\nd:x\na:x\n", exitFailed)
	if got, want := run("# new\nc:x\na:x\na:x\na:x\nb:x\n", exitOK, "--resume"), "c:x\tok\t3\na:x\tok\t1\n"; got != want {
		t.Errorf("resumed: %q, want %q", got, want)
	}
	again := shoal(t, "", "client", "run", "--embedded", "--table", table, "--job-log", log, "--resume", file(t, "d:x\na:x\n")).want(t, exitFailed)
	if again.stdout != "" || !strings.Contains(again.stderr, "2 tasks done before, 1 not with ok: --resume-failed runs these again") {
		t.Errorf("what failed runs again without being asked to: %q, %s", again.stdout, again.stderr)
	}
	if got := run("d:x\na:x\n", exitFailed, "--resume-failed"); !strings.HasPrefix(got, "d:x\tunknown_task\t") {
		t.Errorf("failed ones: %q", got)
	}
	shoal(t, "", "client", "run", "--embedded", "--table", table, "--job-log", log, table).want(t, exitUsage)
}
