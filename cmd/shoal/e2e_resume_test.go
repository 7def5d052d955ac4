package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/netio"
)

// A client that is killed, and one that goes on with its job log at once: no task runs twice, though many had run, ran or waited
// at the gateway whose answers were not logged.
func TestResumeRunsNothingTwice(t *testing.T) {
	t.Parallel()
	const n = 4000
	var mu sync.Mutex
	runs, total := map[string]int{}, 0
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: 64})
	gw.HandleTask("mark", func(task netio.Task) {
		mu.Lock()
		runs[string(task.Body())]++
		total++
		wait := time.Duration(total%20) * time.Millisecond
		mu.Unlock()
		task.FinishAfter(wait, []byte("1"), nil)
	})
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() }) // a drain would wait for the clients that were killed
	ran := func() int { mu.Lock(); defer mu.Unlock(); return total }
	var commands strings.Builder
	for i := range n {
		fmt.Fprintf(&commands, "h%d:c\n", i)
	}
	args := []string{"client", "--gateway", gw.URLs()[0], "run", file(t, commands.String()), "--subroutine", "mark",
		"--job-log", filepath.Join(t.TempDir(), "log"), "--resume", "--batch", "16", "--in-flight", "1000"}
	for _, after := range []int{n / 4, n / 2} {
		r := start(t, nil, args...)
		eventually(t, "much has run", func() bool { return ran() >= after })
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	o := shoal(t, "", args...).want(t, exitOK)
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != n || total != n {
		t.Errorf("%d tasks ran %d times, want %d: %s", len(runs), total, n, o.stderr)
	}
}
