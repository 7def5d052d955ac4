package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// listen returns the port of a listener at an address; it accepts, hands each connection to serve (nil: closes it), and ends
// with the test.
func listen(t *testing.T, host string, serve func(net.Conn)) int {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("cannot listen here: ", err)
	}
	accept(t, ln, serve)
	return ln.Addr().(*net.TCPAddr).Port
}

// listenAt listens at a given port.
func listenAt(t *testing.T, host string, port int) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, ln, nil)
}

func accept(t *testing.T, ln net.Listener, serve func(net.Conn)) {
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
			if serve == nil {
				_ = conn.Close()
				continue
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// privateNet is the first three bytes of addresses of loopback that no other test uses, so that no other has ports there.
func privateNet(third int) string { return fmt.Sprintf("127.77.%d", third) }

// ports joins port numbers.
func ports(numbers ...int) string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, strconv.Itoa(n))
	}
	return strings.Join(texts, ",")
}

// scanned runs a scan to its end and returns its results by position; a position that is there twice fails the test.
func scanned(t *testing.T, s Scan, o Options) map[uint64]Result {
	t.Helper()
	results := map[uint64]Result{}
	for r, err := range Run(context.Background(), s, o) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := results[r.Position]; twice {
			t.Fatalf("position %d has two answers", r.Position)
		}
		results[r.Position] = r
	}
	return results
}

// count counts the answers.
func count(results map[uint64]Result) (c Counts) {
	for _, r := range results {
		c.Add(r.Answer)
	}
	return c
}

// of returns the result of one target and port.
func of(t *testing.T, results map[uint64]Result, target string, port int) Result {
	t.Helper()
	for _, r := range results {
		if r.Target == target && int(r.Port) == port {
			return r
		}
	}
	t.Fatalf("no result for %s:%d", target, port)
	return Result{}
}

// soak makes the fault tests run their long form: go test ./netio/runner/probe -run Outlives -soak
var soak = flag.Bool("soak", false, "run the long form of the fault tests")

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
