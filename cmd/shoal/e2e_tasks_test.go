package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run and map read the same input in the same way, from a file, from several, and from a pipe.
func TestOneReaderForAllInput(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\nb:x:2:0\nc:x # d:3:0\n"))
	input := "\ufeffa:x\r\n\r\n# rack 4\r\n  b:x \r\n\tc:x # d\n"
	want := "a:x\tok\t1\nb:x\tok\t2\nc:x # d\tok\t3\n"
	name := file(t, input)
	for _, args := range [][]string{{"run", name}, {"map", "table", name}, {"run", "-"}, {"map", "table"}} {
		if o := g.client(t, input, append(args, "--keep-order")...).want(t, 0); o.stdout != want {
			t.Errorf("%v: %q", args, o.stdout)
		}
	}
	o := g.client(t, "b:x\n", "run", file(t, "a:x\n"), "-", file(t, "a:x"), "--keep-order").want(t, 0)
	if o.stdout != "a:x\tok\t1\nb:x\tok\t2\na:x\tok\t1\n" {
		t.Errorf("several files: %q", o.stdout)
	}
	if o := g.client(t, "a:x\x00b:x\x00", "run", "-", "-0", "--keep-order").want(t, 0); o.stdout != "a:x\tok\t1\nb:x\tok\t2\n" {
		t.Errorf("-0: %q", o.stdout)
	}
}

// What is no text, or has no task, is refused before anything is sent, by run, by map and by the server, with one status.
func TestInputThatIsNone(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	utf16 := file(t, "\xff\xfea\x00:\x00x\x00\n\x00")
	for _, c := range []struct{ args, want string }{
		{"client run " + utf16, utf16 + ": UTF-16, not UTF-8: convert it"},
		{"client map square " + utf16, utf16 + ": UTF-16, not UTF-8: convert it"},
		{"server --table " + utf16, utf16 + ": UTF-16, not UTF-8: convert it"},
		{"client run " + file(t, "\x1f\x8b\x08\x00\x00"), ": compressed, not text: expand it first"},
		{"client map square " + file(t, strings.Repeat("x", 5<<20)+"\n1\n"), ":1: it is longer than a task may be"},
		{"client run " + file(t, " \n#\n"), ": no tasks: write host:command, one a line"},
		{"client map square " + file(t, " \n#\n"), ": no tasks: write a line for each"},
		{"client run - " + file(t, "a:b\n") + " -", "standard input is named twice"},
		{"client run tcp://127.0.0.1:1 " + file(t, "a:b\n"), "the address of a gateway is written --gateway tcp://127.0.0.1:1"},
	} {
		args := append(strings.Fields(c.args), "--gateway", g.urls[0])
		if args[0] == "server" {
			args = args[:3]
		}
		refused(t, shoal(t, "", args...), exitUsage, c.want)
	}
	o := shoal(t, "", "server", "tcp://127.0.0.1:1").want(t, exitUsage)
	if !strings.Contains(o.stderr, "; an address to listen on is written --listen tcp://127.0.0.1:1\n") {
		t.Error(o.stderr)
	}
}

// A file that is written to while it is sent: what was not checked is not sent.
func TestInputRewrittenInPlace(t *testing.T) {
	t.Parallel()
	const n = 60_000
	var tasks strings.Builder
	for i := range n {
		fmt.Fprintf(&tasks, "%06d:read\n", i)
	}
	g := serve(t, "--demo")
	name := file(t, tasks.String())
	r := start(t, nil, "client", "--gateway", g.urls[0], "run", name, "--subroutine", "echo", "--in-flight", "64")
	eventually(t, "some are sent", func() bool { return r.stdout.String() != "" })
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(strings.ReplaceAll(tasks.String(), "read", "wipe"))
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	status := r.wait()
	if strings.Contains(r.stdout.String(), "wipe") {
		t.Error("what was not checked was sent")
	}
	if all := strings.Count(r.stdout.String(), "\n") == n; !all && (status != exitUsage || !strings.Contains(r.stderr.String(), "has changed since it was checked")) {
		t.Errorf("status %d, %s", status, r.stderr.String())
	}
}

// Lines of a pipe are sent as they come.
func TestRunFromPipe(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\nb:x:2:0\n"))
	r := start(t, nil, "client", "--gateway", g.urls[0], "run", "-")
	for n := range 3 {
		fmt.Fprintln(r.stdin, "a:x")
		eventually(t, "the task is answered", func() bool { return strings.Count(r.stdout.String(), "\n") == n+1 })
	}
	fmt.Fprintln(r.stdin, "bad\nb:x")
	if status := r.wait(); status != exitUsage || strings.Contains(r.stdout.String(), "b:x") || !strings.Contains(r.stderr.String(), "/dev/stdin:4: no colon: write host:command\n") {
		t.Errorf("status %d, %q, %s", status, r.stdout.String(), r.stderr.String())
	}
	_ = r.stdin.Close()
}

// map has a job log like run, and is resumed like it; a resumed run tells the whole truth, and continues its output.
func TestResume(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\nb:x:2:0\nc:x:3:0\n"))
	for _, command := range [][]string{{"run", "-"}, {"map", "table"}} {
		log := filepath.Join(t.TempDir(), "log")
		results, err := os.OpenFile(filepath.Join(t.TempDir(), "results"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer results.Close()
		run := func(input string, status int, args ...string) string {
			args = append(append([]string{"client", "--gateway", g.urls[0]}, command...), append(args, "--keep-order", "--job-log", log, "--output", "csv")...)
			r := start(t, func(c *exec.Cmd) { c.Stdin, c.Stdout = strings.NewReader(input), results }, args...)
			if got := r.wait(); got != status {
				t.Errorf("%v: status %d, want %d: %s", args, got, status, r.stderr.String())
			}
			return r.stderr.String()
		}
		run("a:x\nnone:x\nb:x\n", exitFailed)
		if err := run("a:x\nnone:x\nb:x\nc:x\n", exitFailed, "--resume"); !strings.Contains(err, "1 task: 1 ok; ") || !strings.Contains(err, "3 tasks done before, 1 not with ok") {
			t.Errorf("%v: %s", command, err)
		}
		run("a:x\nb:x\nc:x\n", exitOK, "--resume")
		data, err := os.ReadFile(results.Name())
		lines := strings.Split(string(data), "\r\n")
		if err != nil || len(lines) != 6 || lines[0]+"\r\n" != csvHeader || !strings.HasPrefix(lines[4], "c:x,3,ok,3,") {
			t.Errorf("%v: %v %q", command, err, lines)
		}
	}
}

// What ends is in the job log at once, though its result waits for that of an earlier task.
func TestKeepOrderAndJobLog(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "slow:x:late:600\na:x:1:0\n"))
	log := filepath.Join(t.TempDir(), "log")
	start := func() *running {
		return start(t, nil, "client", "--gateway", g.urls[0], "run", file(t, "slow:x\n"+strings.Repeat("a:x\n", 50)), "--keep-order", "--job-log", log, "--resume")
	}
	logged := func() int {
		data, _ := os.ReadFile(log)
		return strings.Count(string(data), `"task":"a:x"`)
	}
	r := start()
	eventually(t, "what has ended is logged", func() bool { return logged() == 50 })
	if out := r.stdout.String(); out != "" {
		t.Errorf("printed out of order: %q", out)
	}
	r.signal(os.Kill)
	<-r.ended
	// Two interrupts at once: what had come is shown and logged all the same.
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	r = start()
	eventually(t, "what has ended is logged", func() bool { return logged() == 50 })
	r.signal(os.Interrupt)
	r.signal(os.Interrupt)
	if status := r.wait(); status != exitInterrupted || strings.Count(r.stdout.String(), "a:x\tok\t1\n") != 50 || logged() != 50 {
		t.Errorf("status %d, %d in the log, %q", status, logged(), r.stdout.String())
	}
}

// Results that cannot go anywhere are found before a task is sent.
func TestOutputThatGoesNowhere(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\n"))
	commands := file(t, "a:x\n")
	for redirect, want := range map[string]string{">&-": "standard output: bad file descriptor", "1<" + commands: "standard output: bad file descriptor"} {
		log := filepath.Join(t.TempDir(), "log")
		path, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf(`%s client --gateway %s run %s --job-log %s %s`, path, g.urls[0], commands, log, redirect)
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		exit, ok := err.(*exec.ExitError)
		if !ok || exit.ExitCode() != exitInternal || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s", redirect, err, out)
		}
		if data, _ := os.ReadFile(log); len(data) > 0 {
			t.Errorf("%s: it is logged as done: %s", redirect, data)
		}
	}
	for _, c := range []struct{ log, want string }{{"-", `--job-log "-"`}, {"", `--job-log ""`}, {"/dev/stdout", "that is where standard output goes"}} {
		refused(t, g.client(t, "", "run", commands, "--job-log", c.log), exitUsage, c.want)
	}
	same := filepath.Join(t.TempDir(), "same")
	out, err := os.Create(same)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r := start(t, func(c *exec.Cmd) { c.Stdout = out }, "client", "--gateway", g.urls[0], "run", commands, "--job-log", same)
	if status := r.wait(); status != exitUsage {
		t.Errorf("job log and output are one file: status %d, %s", status, r.stderr.String())
	}
}

// Whoever reads the results had enough: that is no failure, although tasks were cancelled by it.
func TestRunIntoHead(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\nslow:x:2:600\n"))
	for _, order := range []string{"--skip-invalid", "--keep-order"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"client", "--gateway", g.urls[0], "run", "-", order}
		client := start(t, func(c *exec.Cmd) { c.Stdout = w }, args...)
		_ = w.Close()
		fmt.Fprintln(client.stdin, "a:x")
		if _, err := r.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		fmt.Fprintln(client.stdin, "a:x\nslow:x")
		if status := client.wait(); status != exitOK {
			t.Errorf("%s: status %d, %s", order, status, client.stderr.String())
		}
	}
}

// Nobody reads standard output: an interrupt ends the process all the same.
func TestInterruptWhileBlocked(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	for _, args := range [][]string{{"map", "echo"}, {"stream", "sensor", `{"count":1000000000,"interval_ms":0}`}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		client := start(t, func(c *exec.Cmd) {
			c.Stdout = w
			c.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("x", 1000)+"\n", 2000))
		}, append([]string{"client", "--gateway", g.urls[0]}, args...)...)
		_ = w.Close()
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		client.signal(os.Interrupt)
		if status := client.wait(); status != exitInterrupted {
			t.Errorf("%v: status %d, %s", args, status, client.stderr.String())
		}
	}
}

// What failed is named, the first ten, and listed in a file that can be run again.
func TestFailedTasks(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0\n"))
	failed := filepath.Join(t.TempDir(), "failed")
	var input strings.Builder
	for i := range 30 {
		fmt.Fprintf(&input, "a:x\nhost-%d:uptime\n", i)
	}
	o := g.client(t, input.String(), "run", "-", "--failed", failed).want(t, exitFailed)
	lines := strings.Split(o.stderr, "\n")
	if len(lines) != 13 || !strings.HasPrefix(lines[0], "not ok: host-") || !strings.HasSuffix(lines[9], ":uptime: unknown_task") ||
		lines[10] != "not ok: 20 more, all of them in "+failed || !strings.HasPrefix(lines[11], "60 tasks: 30 ok, 30 unknown_task; ") {
		t.Errorf("%q", lines)
	}
	again := g.client(t, "", "run", failed).want(t, exitFailed)
	if again.stdout == "" || strings.Count(again.stdout, "\n") != 30 || strings.Contains(again.stdout, "a:x") {
		t.Errorf("%q", again.stdout)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "500ms": 500 * time.Millisecond,
		"1m30s": 90 * time.Second, "1d": 24 * time.Hour, "-5": -5 * time.Second, "0": 0, ".5": 500 * time.Millisecond} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5sec", "5S", "x", "NaN", "1e300", "d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Time-outs do not count the wait for a worker, of which there are fewer than tasks.
func TestTimeoutDoesNotCountTheQueue(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0.5\n"), "--workers", "4")
	o := g.client(t, strings.Repeat("a:x\n", 16), "map", "table", "--timeout", "20s").want(t, 0) // for a machine that is busy
	if strings.Count(o.stdout, "a:x\tok\t1\n") != 16 {
		t.Error(o.stdout)
	}
	o = g.client(t, strings.Repeat("a:x\n", 3), "map", "table", "--in-flight", "1").want(t, 0)
	if !regexp.MustCompile(`; (1\.[5-9]|[2-9]|\d\d)`).MatchString(o.stderr) {
		t.Errorf("one in flight: %s", o.stderr)
	}
}

// An interrupt after the gateway died: what it had may have run, and --resume leaves it alone.
func TestInterruptAfterGatewayDied(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:600\n"))
	log := filepath.Join(t.TempDir(), "log")
	r := start(t, nil, "client", "--gateway", g.urls[0], "run", file(t, strings.Repeat("a:x\n", 20)), "--job-log", log)
	g.held(t, 20)
	g.signal(os.Kill)
	<-g.ended
	eventually(t, "it says so", func() bool {
		return strings.Contains(r.stderr.String(), "shoal: gateway "+g.urls[0]+" lost (") && strings.Contains(r.stderr.String(), "trying again for 1m0s")
	})
	r.signal(os.Interrupt)
	if status := r.wait(); status != exitInterrupted {
		t.Errorf("status %d: %s", status, r.stderr.String())
	}
	if data, err := os.ReadFile(log); err != nil || strings.Count(string(data), `"status":"lost"`) != 20 {
		t.Errorf("%v: %s", err, data)
	}
}

// A gateway that stands still is found out as fast as the command line says, and while it does one line says so.
func TestSilentGatewayIsNamed(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:600\n"))
	r := start(t, nil, "client", "--connections", "1", "--heartbeat", "50ms", "--give-up", "1s", "--gateway", g.urls[0], "call", "table", "a:x")
	g.held(t, 1)
	g.signal(syscall.SIGSTOP)
	if status := r.wait(); status != exitUnknown {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.stderr.String(), "lost (the gateway is silent): trying again for 1s") {
		t.Error(r.stderr.String())
	}
	g.signal(syscall.SIGCONT)
}

// When a gateway dies, no more tasks are in doubt than it could begin soon; what it never had is said to be that, and runs
// with --resume.
func TestLittleIsInDoubt(t *testing.T) {
	t.Parallel()
	const workers, n = 4, 200
	g := serve(t, "--table", file(t, "a:x:1:0.3\n"), "--workers", strconv.Itoa(workers))
	log := filepath.Join(t.TempDir(), "log")
	tasks := file(t, strings.Repeat("a:x\n", n))
	r := start(t, nil, "client", "--give-up", "100ms", "--gateway", g.urls[0], "run", tasks, "--job-log", log)
	eventually(t, "the first answer", func() bool { return strings.Contains(r.stdout.String(), "\tok\t") })
	g.signal(os.Kill)
	if status := r.wait(); status != exitUnreachable {
		t.Errorf("status %d: %s", status, r.stderr.String())
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lost, done := strings.Count(string(data), `"status":"lost"`), strings.Count(string(data), `"status":"ok"`)
	if lost > 3*workers {
		t.Errorf("%d lost: %s", lost, r.stderr.String())
	}
	o := shoal(t, "", "client", "run", "--embedded", "--table", file(t, "a:x:1:0\n"), tasks, "--job-log", log, "--resume")
	if ran := strings.Count(o.stdout, "\tok\t"); ran != n-lost-done {
		t.Errorf("status %d, %d lost, %d ran: %s", o.status, lost, ran, o.stderr)
	}
}

// A gateway that is full is told from one that is not there, and -v says what became of each connection.
func TestFullGatewayIsNamed(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "a:x:1:0.3\n"), "--max-handlers", "3")
	o := g.client(t, "", "--connections", "8", "ping").want(t, exitUnreachable)
	if !strings.Contains(o.stderr, "full") {
		t.Error(o.stderr)
	}
	eventually(t, "the connections are gone", func() bool {
		o = g.client(t, "a:x\n", "--connections", "3", "-v", "run", "-")
		return o.status == 0
	})
	if !strings.Contains(o.stderr, "msg=connected ") {
		t.Error(o.stderr)
	}
}
