package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openPort returns a port on which somebody listens at an address.
func openPort(t *testing.T, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("cannot listen here: ", err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("unit\t7\r\n"))
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// A scan prints each answer in each format, and counts all five.
func TestScan(t *testing.T) {
	t.Parallel()
	const host = "127.78.1.9"
	port := openPort(t, host)
	g := serve(t, "--probe")
	args := []string{"scan", "127.78.1.0/28", "-x", "127.78.1.1", "-p", port + ",1"}
	out := g.client(t, "", append(args, "--banner")...).want(t, exitOK)
	if len(out.lines()) != 30 || !strings.Contains(out.stdout, host+":"+port+"\topen\tunit\\t7\n") || !strings.Contains(out.stdout, host+":1\tclosed\t\n") {
		t.Errorf("%s", out.stdout)
	}
	if !strings.Contains(out.stderr, "30 probes: 1 open, 29 closed, 0 filtered, 0 unreachable, 0 not_tried; ") || !strings.Contains(out.stderr, "; seed ") {
		t.Errorf("%s", out.stderr)
	}
	out = g.client(t, "", append(args, "--open", "--banner", "--output", "jsonl")...).want(t, exitOK)
	var result map[string]any
	if err := json.Unmarshal([]byte(out.stdout), &result); err != nil || result["target"] != host || result["answer"] != "open" || result["banner"] != "unit\t7\r\n" {
		t.Errorf("%s: %v", out.stdout, err)
	}
	out = g.client(t, "", append(args, "--output", "csv")...).want(t, exitOK)
	if rows, err := csv.NewReader(strings.NewReader(out.stdout)).ReadAll(); err != nil || len(rows) != 31 || rows[0][0] != "target" {
		t.Errorf("%s: %v", out.stdout, err)
	}
	// The targets from standard input, and the order by the seed alone.
	first := g.client(t, "127.78.1.[0-7]\n# none\n", "scan", "-", "-p", "1-3", "--fanout", "1", "--seed", "5").want(t, exitOK)
	second := g.client(t, "", "scan", "127.78.1.0/29", "-p", "1-3", "--fanout", "1", "--seed", "5").want(t, exitOK)
	if first.stdout != second.stdout || len(first.lines()) != 24 {
		t.Errorf("%s and %s", first.stdout, second.stdout)
	}
	rest := g.client(t, "", "scan", "127.78.1.0/29", "-p", "1-3", "--fanout", "1", "--seed", "5", "--resume-at", "20").want(t, exitOK)
	if rest.stdout != strings.Join(first.lines()[20:], "\n")+"\n" {
		t.Errorf("%s is not the end of %s", rest.stdout, first.stdout)
	}
}

// A process scans by itself too.
func TestScanEmbedded(t *testing.T) {
	t.Parallel()
	const host = "127.78.2.9"
	port := openPort(t, host)
	out := shoal(t, "", "client", "scan", "--embedded", host, "-p", port, "--pick", "3").want(t, exitOK)
	if out.stdout != host+":"+port+"\topen\t\n" {
		t.Errorf("%s", out.stdout)
	}
}

// A gateway offers no scans unless told, and probes no address that it was not told.
func TestScanNotAllowed(t *testing.T) {
	t.Parallel()
	out := serve(t, "--demo").client(t, "", "scan", "127.0.0.1", "-p", "1").want(t, exitFailed)
	if !strings.Contains(out.stderr, "--probe") {
		t.Errorf("%s", out.stderr)
	}
	out = serve(t, "--probe", "--probe-allow", "127.78.3.0/30", "--probe-allow", "127.78.3.9").client(t, "", "scan", "127.78.3.0/28", "-p", "1").want(t, exitFailed)
	if !strings.Contains(out.stderr, "0 open, 5 closed, 0 filtered, 0 unreachable, 11 not_tried") || !strings.Contains(out.stdout, "127.78.3.8:1\tnot_tried\tthe gateway does not allow this address\n") {
		t.Errorf("%s%s", out.stdout, out.stderr)
	}
	shoal(t, "", "server", "--probe-allow", "127.0.0.1").want(t, exitUsage)
	shoal(t, "", "server", "--probe", "--probe-allow", "web[").want(t, exitUsage)
}

// What cannot be scanned is said before anything is sent.
func TestScanUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"127.0.0.1", "web[1- -p 1", "127.0.0.1 -p 0", "127.0.0.1 -p 1 -x 127.0.0.0/8", "127.0.0.1 -p 1 --rate 0",
		"127.0.0.1 -p 1 --timeout 0s", "127.0.0.1 -p 1 --resume", "127.0.0.1 -p 1 --resume-at 1", "127.0.0.1 -p 1 --seed 1 --resume-at 9",
		"@rack -p 1", "127.0.0.1 -p 1 --groups /nonexistent", "::/0 -p 1"} {
		shoal(t, "", append([]string{"client", "scan", "--embedded"}, strings.Fields(args)...)...).want(t, exitUsage)
	}
	shoal(t, "", "client", "--gateway", "tcp://127.0.0.1:1", "scan", "127.0.0.1", "-p", "1").want(t, exitUnreachable)
}

// scanLines checks that each probe of a scan was printed, and how often; it returns how many were printed twice.
func scanLines(t *testing.T, net string, n, ports int, output string) (twice int) {
	t.Helper()
	seen := map[string]int{}
	for line := range strings.Lines(output) {
		place, rest, _ := strings.Cut(line, "\t")
		if rest != "closed\t\n" || !strings.HasPrefix(place, net) {
			t.Fatalf("a line is %q", line)
		}
		if seen[place]++; seen[place] == 2 {
			twice++
		}
	}
	for i := range n {
		for port := 1; port <= ports; port++ {
			if place := fmt.Sprintf("%s.%d:%d", net, i, port); seen[place] == 0 {
				t.Errorf("%s was not printed", place)
			}
		}
	}
	if len(seen) != n*ports {
		t.Errorf("%d probes were printed, of %d", len(seen), n*ports)
	}
	return twice
}

// A scan goes on when its gateway drains or is killed, and another comes: each probe is printed once, the counts agree.
func TestFaultScanOutlivesGateways(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	args := []string{"--probe", "--listen", address}
	rounds := 2
	if *soak {
		rounds = 100
	}
	for range rounds {
		g := serve(t, args...)
		client := start(t, nil, "client", "--gateway", address, "--wait", "60s", "scan", "127.78.4.0/24", "-p", "1-4", "--rate", "1500")
		eventually(t, "the scan is at work", func() bool { return client.stdout.String() != "" })
		for range 2 {
			g.signal([]os.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL}[rand.IntN(3)])
			<-g.ended
			g = serve(t, args...)
		}
		if status := client.wait(); status != exitOK {
			t.Fatalf("exit status %d: %s", status, client.stderr.String())
		}
		if twice := scanLines(t, "127.78.4", 256, 4, client.stdout.String()); twice > 0 {
			t.Errorf("%d were printed twice", twice)
		}
		if !strings.Contains(client.stderr.String(), "1024 probes: 0 open, 1024 closed, ") {
			t.Errorf("%s", client.stderr.String())
		}
		g.signal(syscall.SIGKILL)
		<-g.ended
	}
}

// A scan whose client is killed again and again, and resumed each time, is printed completely.
func TestFaultScanKillClient(t *testing.T) {
	t.Parallel()
	g := serve(t, "--probe")
	log := filepath.Join(t.TempDir(), "scan.log")
	args := []string{"client", "--gateway", g.urls[0], "scan", "127.78.5.0/24", "-p", "1-8", "--rate", "2000", "--job-log", log}
	var output strings.Builder
	resumed := args
	for range kills() / 3 {
		r := start(t, nil, resumed...)
		resumed = append(args[:len(args):len(args)], "--resume")
		eventually(t, "the scan is at work", func() bool {
			select {
			case <-r.ended:
				return true
			default:
				return r.stdout.String() != ""
			}
		})
		_ = r.cmd.Process.Signal([]os.Signal{os.Kill, os.Interrupt}[rand.IntN(2)])
		<-r.ended
		whole := r.stdout.String() // a last line may be cut off
		output.WriteString(whole[:strings.LastIndexByte(whole, '\n')+1])
	}
	last := shoal(t, "", resumed...).want(t, exitOK)
	output.WriteString(last.stdout)
	scanLines(t, "127.78.5", 256, 8, output.String())
	if again := shoal(t, "", resumed...).want(t, exitOK); again.stdout != "" {
		t.Errorf("what is done was scanned again: %.200s", again.stdout)
	}
	other := append(args[:len(args):len(args)], "--resume", "-x", "127.78.5.1")
	if out := shoal(t, "", other...).want(t, exitUsage); !strings.Contains(out.stderr, "another scan") {
		t.Errorf("%s", out.stderr)
	}
	shoal(t, "", args...).want(t, exitUsage) // without --resume
}

// An interrupted scan says where it is, and what it has printed is whole.
func TestScanInterrupted(t *testing.T) {
	t.Parallel()
	r := start(t, nil, "client", "scan", "--embedded", "127.78.6.0/24", "-p", "1-4", "--rate", "300", "--seed", "8")
	eventually(t, "the scan is at work", func() bool { return r.stdout.String() != "" })
	r.signal(os.Interrupt)
	if status := r.wait(); status != exitInterrupted {
		t.Fatalf("exit status %d: %s", status, r.stderr.String())
	}
	_, at, found := strings.Cut(r.stderr.String(), "go on with --seed 8 --resume-at ")
	if !found {
		t.Fatalf("%s", r.stderr.String())
	}
	rest := shoal(t, "", "client", "scan", "--embedded", "127.78.6.0/24", "-p", "1-4", "--seed", "8", "--resume-at", strings.TrimSpace(at)).want(t, exitOK)
	scanLines(t, "127.78.6", 256, 4, r.stdout.String()+rest.stdout)
}

// Few descriptors make a scan slow, and nothing else.
func TestScanFewDescriptors(t *testing.T) {
	t.Parallel()
	const host = "127.78.7.9"
	port := openPort(t, host)
	r := start(t, func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -n 40 && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}, "client", "scan", "--embedded", "127.78.7.0/24", "-p", port+",1-7", "--open", "--banner")
	if status := r.wait(); status != exitOK {
		t.Fatalf("exit status %d: %s", status, r.stderr.String())
	}
	if r.stdout.String() != host+":"+port+"\topen\tunit\\t7\n" || !strings.Contains(r.stderr.String(), "2048 probes: 1 open, 2047 closed, ") {
		t.Errorf("%s%s", r.stdout.String(), r.stderr.String())
	}
}

// With no descriptor left for a probe the scan waits as long as it may, and then tells of each probe that it was not tried.
func TestScanWithoutDescriptors(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"18", "20", "22", "24"} {
		r := start(t, func(c *exec.Cmd) {
			c.Args = append([]string{"sh", "-c", "ulimit -n " + limit + ` && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
			c.Path = "/bin/sh"
		}, "client", "scan", "--embedded", "127.78.8.0/26", "-p", "1-4", "--patience", "200ms")
		status := r.wait()
		if status == exitUnreachable || status == exitUsage {
			continue // too few for the gateway itself
		}
		closed, notTried := strings.Count(r.stdout.String(), "\tclosed\t"), strings.Count(r.stdout.String(), "\tnot_tried\ttoo many open files")
		if closed+notTried != 256 || (status == exitOK) != (notTried == 0) {
			t.Errorf("ulimit -n %s: exit status %d, %d closed, %d not tried: %s", limit, status, closed, notTried, r.stderr.String())
		}
	}
}

// SIGUSR1 shows how far a scan is, without ending it; --limit takes a part of its targets.
func TestScanUnderway(t *testing.T) {
	t.Parallel()
	r := start(t, nil, "client", "scan", "--embedded", "127.78.9.0/24", "-p", "1-4", "--rate", "50", "--limit", "50%", "--seed", "3")
	eventually(t, "the first answer", func() bool { return r.stdout.String() != "" })
	r.signal(syscall.SIGUSR1)
	eventually(t, "how far it is", func() bool {
		return strings.Contains(r.stderr.String(), "under way for ") && strings.Contains(r.stderr.String(), " of 512 probes answered")
	})
	r.signal(os.Interrupt)
	if status := r.wait(); status != exitInterrupted {
		t.Errorf("exit status %d: %s", status, r.stderr.String())
	}
}
