package main

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// valve passes connections on to a gateway, and only as many bytes, of both directions together, as the test allows. So a
// transfer is where the test wants it to be, however busy the machine is.
type valve struct {
	url     string // to be dialed in place of the gateway's
	gateway string // unix://PATH

	mu      sync.Mutex // guards what follows
	allowed int        // bytes that may still pass
	open    bool       // everything may pass
	changed *sync.Cond // by allow, pass and close
}

// valveChunk is how much one direction passes on at once, at most; it may exceed what is allowed by as much.
const valveChunk = 16 << 10

// newValve returns a closed valve that ends with the test.
func newValve(t *testing.T, gateway string) *valve {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{url: "tcp://" + ln.Addr().String(), gateway: gateway}
	v.changed = sync.NewCond(&v.mu)
	var running sync.WaitGroup
	var conns []net.Conn // the accepting goroutine's until it has ended
	running.Go(func() {
		var passing sync.WaitGroup
		for {
			client, err := ln.Accept()
			if err != nil {
				break
			}
			server, err := net.Dial("unix", strings.TrimPrefix(v.gateway, "unix://"))
			if err != nil { // the gateway is not there: the client tries again
				_ = client.Close()
				continue
			}
			conns = append(conns, client, server)
			passing.Go(func() { v.pass(server, client) })
			passing.Go(func() { v.pass(client, server) })
		}
		for _, c := range conns {
			_ = c.Close()
		}
		v.openUp() // who waits finds its connection closed
		passing.Wait()
	})
	t.Cleanup(func() { _ = ln.Close(); running.Wait() })
	return v
}

// pass passes on what src sends, as far as it is allowed; it closes both when one has ended.
func (v *valve) pass(dst, src net.Conn) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, valveChunk)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		v.mu.Lock()
		for !v.open && v.allowed <= 0 {
			v.changed.Wait()
		}
		v.allowed -= n
		v.mu.Unlock()
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// allow lets n bytes pass from now on, no matter how many were allowed before.
func (v *valve) allow(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.allowed = n
	v.changed.Broadcast()
}

// openUp lets everything pass.
func (v *valve) openUp() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = true
	v.changed.Broadcast()
}

// trickle lets a little pass, again and again, until ended is closed.
func (v *valve) trickle(ended <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			v.allow(valveChunk)
		}
	}
}
