package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestCall(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo", "--table", file(t, "h:a:x\\:\ty\x01\xff:0\nh:slow:1:600\n"))
	// Bytes pass through unchanged, without a line end that was not there.
	if o := g.client(t, "", "call", "table", "h:a").want(t, 0); o.stdout != "x:\ty\x01\xff" || o.stderr != "" {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
	if o := g.client(t, "12", "call", "square", "-").want(t, 0); o.stdout != "144" {
		t.Errorf("argument from standard input: %q", o.stdout)
	}
	if o := g.client(t, "", "call", "square", "--json", "--", "-3").want(t, 0); o.stdout != "9\n" {
		t.Errorf("--json: %q", o.stdout)
	}
	hello := g.client(t, "", "call", "hello", "Hi from 1").want(t, 0).stdout
	if want := fmt.Sprintf(`^Hi 127\.0\.0\.1:\d+\. This is server %d$`, g.cmd.Process.Pid); !regexp.MustCompile(want).MatchString(hello) {
		t.Errorf("%q", hello)
	}
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitFailed, "nope: unknown subroutine", []string{"call", "nope"}},
		{exitFailed, "table: unknown task", []string{"call", "table", "h:none"}},
		{exitFailed, "square: subroutine failed: bad argument", []string{"call", "square", "twelve"}},
		{exitFailed, "sensor: subroutine failed: ", []string{"call", "sensor"}},
		{exitFailed, "hello: the answer is not JSON", []string{"call", "hello", "1", "--json"}},
		{exitUnknown, "table: deadline passed", []string{"call", "table", "h:slow", "--timeout", "50ms"}},
	} {
		refused(t, g.client(t, "", c.args...), c.status, c.want)
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	o := g.client(t, "1\n2\n\nx\n5", "map", "square", "--keep-order").want(t, exitFailed)
	lines := o.lines()
	if len(lines) != 4 || lines[0] != "1\tok\t1" || lines[1] != "2\tok\t4" || lines[3] != "5\tok\t25" || !strings.HasPrefix(lines[2], "x\tfailed\tbad argument") {
		t.Errorf("%q", o.stdout)
	}
	refused(t, g.client(t, "# nothing today\n", "map", "square"), exitUsage, "/dev/stdin: no tasks: write a line for each")
	// Each line is answered before the next is written.
	r := start(t, nil, "client", "--gateway", g.urls[0], "map", "square")
	for n := range 3 {
		fmt.Fprintln(r.stdin, n+2)
		eventually(t, "the line is answered", func() bool { return strings.Count(r.stdout.String(), "\n") == n+1 })
	}
	_ = r.stdin.Close()
	if status := r.wait(); status != 0 || r.stdout.String() != "2\tok\t4\n3\tok\t9\n4\tok\t16\n" || !strings.Contains(r.stderr.String(), "sum 29") {
		t.Errorf("%d, %q, %q", status, r.stdout.String(), r.stderr.String())
	}
}

// What fails is sent again as often as asked for, by run and by map: the gateway counts the tasks.
func TestRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args  []string
		tasks int
	}{
		{[]string{"map", "square"}, 1},
		{[]string{"map", "square", "--retries", "2"}, 1},
		{[]string{"map", "square", "--retries", "2", "--retry-failed"}, 3},
		{[]string{"run", "-", "--subroutine", "square", "--retries", "2", "--retry-failed"}, 3},
	} {
		g := serve(t, "--demo")
		g.client(t, "h:x\n", append(c.args, "--in-flight", "8")...).want(t, exitFailed) // which the gateway is not asked for
		g.signal(syscall.SIGTERM)
		g.wait()
		if !strings.Contains(g.stderr.String(), fmt.Sprintf(" tasks=%d ", c.tasks)) {
			t.Errorf("%v: %s", c.args, g.stderr.String())
		}
	}
	g := serve(t, "--table", file(t, "h:slow:1:600\n"))
	if o := g.client(t, "h:slow\n", "map", "table", "--timeout", "100ms", "--retries", "1").want(t, exitUnknown); o.stdout != "h:slow\ttimeout\ttimeout\n" {
		t.Errorf("%q", o.stdout)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	o := g.client(t, "", "stream", "sensor", `{"count":1000,"interval_ms":0,"size":100}`).want(t, 0)
	if len(o.stdout) != 100_000 || o.stderr != "" {
		t.Fatalf("%d bytes, %q", len(o.stdout), o.stderr)
	}
	for n, line := range o.lines() {
		if !strings.HasPrefix(line, fmt.Sprintf("%d ", n)) {
			t.Fatalf("line %d is %q", n, line)
		}
	}
	if o := g.client(t, "", "stream", "sensor", `{"count":500,"interval_ms":0}`, "--streams", "4").want(t, 0); len(o.lines()) != 2000 {
		t.Errorf("four streams: %d lines", len(o.lines()))
	}
	if o := g.client(t, "", "stream", "sensor", `{"count":0}`).want(t, 0); o.stdout != "" {
		t.Errorf("an empty stream: %q", o.stdout)
	}
	// It prints as it comes.
	r := start(t, nil, "client", "--gateway", g.urls[0], "stream", "sensor", `{"count":2,"interval_ms":600000}`)
	eventually(t, "the first reading", func() bool { return r.stdout.String() == "0 20.000\n" })

	refused(t, g.client(t, "", "stream", "sensor", `{"count":-1}`), exitFailed, "bad argument")
	refused(t, g.client(t, "", "stream", "nope"), exitFailed, "nope: unknown subroutine")
	refused(t, g.client(t, "", "stream", "square", "1"), exitFailed, "square: subroutine failed")
	o = g.client(t, "", "stream", "sensor", `{"count":2,"interval_ms":600000}`, "--timeout", "200ms").want(t, exitUnknown)
	if o.stdout != "0 20.000\n" || !strings.Contains(o.stderr, "sensor: deadline passed") {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
}

// What a pipe like `stream | head -3` does, with a real shell.
func TestStreamIntoHead(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	script := path + ` client --gateway "$0" stream sensor '{"count":100000000,"interval_ms":0}' | head -3; echo "${PIPESTATUS[*]}"`
	out, err := exec.Command("bash", "-c", script, g.urls[0]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if string(out) != "0 20.000\n1 20.499\n2 20.993\n0 0\n" {
		t.Errorf("%q", out)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo", "--table", file(t, "h:a:1:0\n"))
	body := bytes.Repeat([]byte("0123456789\x00\xff\n"), 300_000)
	for name, send := range map[string]func() outcome{
		"file":           func() outcome { return g.client(t, "", "send", "store", file(t, string(body))) },
		"standard input": func() outcome { return g.client(t, string(body), "send", "store", "-") },
		"compressed":     func() outcome { return g.client(t, string(body), "--compress", "zstd", "send", "store", "-") },
	} {
		o := send().want(t, 0)
		if want := fmt.Sprintf(`{"size":%d,"sha256":"%x"}`, len(body), sha256.Sum256(body)); o.stdout != want || o.stderr != "" {
			t.Errorf("%s: %q, %q", name, o.stdout, o.stderr)
		}
	}
	if o := g.client(t, "", "send", "store", "-").want(t, 0); !strings.HasPrefix(o.stdout, `{"size":0,`) {
		t.Errorf("nothing: %q", o.stdout)
	}
	refused(t, g.client(t, string(body), "send", "nope", "-"), exitFailed, "nope: unknown subroutine")
	refused(t, g.client(t, string(body), "send", "table", "-"), exitFailed, "table: subroutine failed")
}

func TestList(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo", "--table", file(t, "h:a:1:0\n"))
	o := g.client(t, "", "list").want(t, 0)
	for _, want := range []string{"echo\tduplex\t", "hello\tcall\t", "logs\tstream\t", "store\tsend\t", "table\tcall\tlook a task up"} {
		if !strings.Contains("\n"+o.stdout, "\n"+want) {
			t.Errorf("%q is not in\n%s", want, o.stdout)
		}
	}
	for _, line := range g.client(t, "", "list", "--output", "jsonl").want(t, 0).lines() {
		var info struct{ Name, Shape, Description string }
		if err := json.Unmarshal([]byte(line), &info); err != nil || info.Name == "" || info.Shape == "" || info.Description == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	o := g.client(t, "", "--connections", "3", "ping", "-n", "2", "--interval", "1ms").want(t, 0)
	if len(o.lines()) != 6 || strings.Count(o.stdout, "connection 2: ") != 2 {
		t.Errorf("%q", o.stdout)
	}
	if !regexp.MustCompile(`^6 answered, 0 lost; min/avg/max \S+/\S+/\S+\n$`).MatchString(o.stderr) {
		t.Errorf("%q", o.stderr)
	}
}

// The conditional backup with nothing but the command line.
func TestDemoLogs(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	usage := g.client(t, "", "call", "mount_usage").want(t, 0).stdout
	archive := tar.NewReader(strings.NewReader(g.client(t, "", "stream", "logs", "app-[12].log").want(t, 0).stdout))
	for _, name := range []string{"app-1.log", "app-2.log"} {
		header, err := archive.Next()
		if err != nil || header.Name != name {
			t.Fatalf("%v, %v", header, err)
		}
		if n, err := io.Copy(io.Discard, archive); err != nil || n != header.Size {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if o := g.client(t, "", "call", "remove_logs", `["app-1.log","app-2.log"]`).want(t, 0); o.stdout != "2" {
		t.Errorf("%q", o.stdout)
	}
	if after := g.client(t, "", "call", "mount_usage").want(t, 0).stdout; !strings.Contains(usage, `"percent":90`) && usage == after {
		t.Errorf("%q, then %q", usage, after)
	}
	refused(t, g.client(t, "", "call", "remove_logs", `["../../etc/passwd"]`), exitFailed, "is no name of a log")
	refused(t, g.client(t, "", "stream", "logs", "["), exitFailed, "is no pattern of a file name")
}
