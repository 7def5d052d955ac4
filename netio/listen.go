package netio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// listen binds a URL. A unix socket that a dead process left behind is replaced; anything else in its place is not.
func listen(rawURL string) (net.Listener, error) {
	scheme, address, err := splitURL(rawURL)
	if err != nil {
		return nil, err
	}
	network := scheme
	if scheme == "tls" {
		network = "tcp"
	}
	if network == "unix" {
		if err := clearSocket(address); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	lc.KeepAlive = -1 // heartbeats do better
	ln, err := lc.Listen(context.Background(), network, address)
	switch {
	case err == nil && scheme == "tls":
		return tlsListener{ln}, nil
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use: stop what listens there, or choose another address: %w", rawURL, syscall.EADDRINUSE)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission to listen on %s: choose a port from 1024 up, or a folder that you may write to: %w", rawURL, fs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("cannot listen on %s: the folder does not exist: %w", rawURL, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w", rawURL, err)
}

// clearSocket removes a socket file that nobody listens on.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil //nolint:nilerr // nothing there, or listen will say what is wrong
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("unix://%s is there and is no socket: remove it, or choose another path: %w", path, fs.ErrExist)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("unix://%s is in use: stop what listens there, or choose another path: %w", path, syscall.EADDRINUSE)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return nil
}

// listenAll binds all URLs, or none.
func listenAll(urls []string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, u := range urls {
		ln, err := listen(u)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close()
	}
}

// takers is how many connections of a listener may be on their way to an event loop at once: each waits for its loop's turn.
const takers = 64

// accept takes connections until the listener is closed. Running out of descriptors only makes it wait.
func (g *Gateway) accept(ln net.Listener) {
	defer g.running.Done()
	const slowest = time.Second
	pause := 5 * time.Millisecond
	places := make(chan struct{}, takers)
	_, inTLS := ln.(tlsListener)
	for {
		conn, err := ln.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			places <- struct{}{}
			g.running.Go(func() {
				defer func() { <-places }()
				g.take(conn, inTLS)
			})
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		g.log.Warn("cannot accept a connection; waiting", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
			pause = min(2*pause, slowest)
		case <-g.stopping:
			return
		}
	}
}
