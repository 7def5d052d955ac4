package main

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	commandsTxt = "../../testdata/commands.txt"
	tableTxt    = "../../testdata/table.txt"
)

// checkMainJob checks the answers to testdata/commands.txt: each task exactly once.
func checkMainJob(t *testing.T, o outcome) {
	t.Helper()
	o.want(t, 0)
	data, err := os.ReadFile(commandsTxt)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(data))
	for i := range want {
		want[i] += "\tok\t1"
	}
	got := o.lines()
	sort.Strings(got)
	sort.Strings(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d lines, not the %d tasks answered once each", len(got), len(want))
	}
	if !strings.HasPrefix(o.stderr, "512 tasks: 512 ok; ") || !strings.HasSuffix(o.stderr, "; sum 512\n") || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("standard error: %q", o.stderr)
	}
}

func TestMainJobEmbedded(t *testing.T) {
	t.Parallel()
	checkMainJob(t, shoal(t, "", "client", "run", "--embedded", "--table", tableTxt, commandsTxt))
}

// A separate server, by TCP and by unix socket, at several addresses at once, any batch, again and again.
func TestMainJobOverServer(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", tableTxt, "--workers", "4096", "--listen", "tcp://127.0.0.1:0", "--listen", "unix://"+socketPath(t), "--listen", "tcp://127.0.0.1:0")
	if len(g.urls) != 3 {
		t.Fatalf("listens on %v", g.urls)
	}
	for _, url := range g.urls {
		for _, batch := range []string{"1", "16", "100"} {
			t.Run(url+" "+batch, func(t *testing.T) {
				t.Parallel()
				for range 2 {
					checkMainJob(t, shoal(t, "", "client", "--gateway", url, "run", commandsTxt, "--batch", batch))
				}
			})
		}
	}
}

// The client may be there first, and the address may come from the environment.
func TestClientFirst(t *testing.T) {
	t.Parallel()
	url := "unix://" + socketPath(t)
	client := start(t, func(c *exec.Cmd) { c.Env = append(c.Env, "SHOAL_GATEWAY="+url) },
		"client", "--wait", "20s", "run", commandsTxt)
	time.Sleep(100 * time.Millisecond) // it has tried in vain; if it has not, the test is only easier
	serve(t, "--table", tableTxt, "--listen", url)
	status := client.wait()
	checkMainJob(t, outcome{client.stdout.String(), client.stderr.String(), status})
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	o := shoal(t, "", "client", "--gateway", "unix://"+socketPath(t), "--wait", "300ms", "run", commandsTxt).want(t, exitUnreachable)
	if took := time.Since(begun); took < 300*time.Millisecond || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("after %v: %s", took, o.stderr)
	}
}

// Three clients at once, each with tasks of its own: each gets the answers to those, once each.
func TestClientsGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	const clients, tasks = 3, 3000
	var table strings.Builder
	commands := make([]strings.Builder, clients)
	for c := range clients {
		for n := range tasks {
			fmt.Fprintf(&table, "c%d:%d:answer %d of %d:0.0%d\n", c, n, n, c, n%4)
			fmt.Fprintf(&commands[c], "c%d:%d\n", c, n)
		}
	}
	g := serve(t, "--table", file(t, table.String()))
	var all sync.WaitGroup
	outcomes := make([]outcome, clients)
	for c := range clients {
		name := file(t, commands[c].String())
		all.Go(func() { outcomes[c] = g.client(t, "", "run", name) })
	}
	all.Wait()
	for c, o := range outcomes {
		seen := map[string]bool{}
		for _, line := range o.want(t, 0).lines() {
			seen[line] = true
		}
		if len(o.lines()) != tasks || len(seen) != tasks {
			t.Errorf("client %d: %d lines, %d different", c, len(o.lines()), len(seen))
		}
		for n := range tasks {
			if line := fmt.Sprintf("c%d:%d\tok\tanswer %d of %d", c, n, n, c); !seen[line] {
				t.Fatalf("client %d: no line %q", c, line)
			}
		}
	}
}

// With fewer workers than tasks, they run in turns.
func TestEmbeddedWorkers(t *testing.T) {
	t.Parallel()
	table := file(t, "h:a:1:0.1\nh:b:2:0.1\nh:c:3:0.1\nh:d:4:0.1\n")
	begun := time.Now()
	o := shoal(t, "h:a\nh:b\nh:c\nh:d\n", "client", "run", "--embedded", "--table", table, "--workers", "2", "-").want(t, 0)
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("four tasks of 0.1 s took %v with two workers", took)
	}
	if !strings.Contains(o.stderr, "sum 10") {
		t.Error(o.stderr)
	}
}
