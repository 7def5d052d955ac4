package netio

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"syscall"
	"time"

	"shoal/proto"
)

// DefaultURL is where a gateway listens and a swarm dials when nothing else is said.
const DefaultURL = "tcp://127.0.0.1:1857"

// Limits of configuration: above them a number is taken for a mistake.
const (
	maxFrameLimit = 1 << 30
	maxWindow     = 1 << 24
	// minSendBuffer has room for what a peer need not acknowledge yet, 64 KiB, a few times over.
	minSendBuffer = 256 << 10
)

// orDefault returns v, or the default where v is not above zero.
func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	return l
}

// settle returns the configuration with its defaults in place of what is not set.
func (c GatewayConfig) settle() (GatewayConfig, error) {
	if len(c.Listen) == 0 {
		c.Listen = []string{DefaultURL}
	}
	for _, u := range c.Listen {
		if _, _, err := splitURL(u); err != nil {
			return c, err
		}
	}
	c.Workers = orDefault(c.Workers, 1024)
	c.MaxHandlers = orDefault(c.MaxHandlers, defaultHandlers())
	c.Window = orDefault(c.Window, 64<<10)
	c.WindowBytes = orDefault(c.WindowBytes, 64<<20)
	c.FrameLimit = orDefault(c.FrameLimit, 4<<20)
	c.SendBuffer = max(minSendBuffer, orDefault(c.SendBuffer, 8<<20))
	c.Streams = orDefault(c.Streams, 4096)
	c.MaxStreams = orDefault(c.MaxStreams, 64<<10)
	c.StreamCredit = orDefault(c.StreamCredit, 512<<10)
	c.HandshakeTimeout = orDefault(c.HandshakeTimeout, 10*time.Second)
	c.IdleTimeout = orDefault(c.IdleTimeout, 60*time.Second)
	c.WriteTimeout = orDefault(c.WriteTimeout, 30*time.Second)
	c.SessionTimeout = orDefault(c.SessionTimeout, 60*time.Second)
	c.DrainTimeout = orDefault(c.DrainTimeout, 30*time.Second)
	c.Logger = orDiscard(c.Logger)
	return c, checkLimits(c.FrameLimit, c.Window)
}

func checkLimits(frameLimit, window int) error {
	if frameLimit < proto.MinFrameLimit || frameLimit > maxFrameLimit {
		return fmt.Errorf("frame limit %d: it has to be from %d to %d bytes", frameLimit, proto.MinFrameLimit, maxFrameLimit)
	}
	if window > maxWindow {
		return fmt.Errorf("window %d: it has to be at most %d tasks", window, maxWindow)
	}
	return nil
}

// defaultHandlers leaves descriptors for what else the process does.
func defaultHandlers() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<20 {
		return 100_000
	}
	return max(16, int(r.Cur)*9/10-64)
}

// settle returns the configuration with its defaults in place of what is not set.
func (c SwarmConfig) settle() (SwarmConfig, error) {
	c.Connections = orDefault(c.Connections, 4)
	c.FrameLimit = orDefault(c.FrameLimit, 4<<20)
	c.SendBuffer = max(minSendBuffer, orDefault(c.SendBuffer, 8<<20))
	c.StreamCredit = orDefault(c.StreamCredit, 512<<10)
	c.DialTimeout = orDefault(c.DialTimeout, 5*time.Second)
	c.Heartbeat = orDefault(c.Heartbeat, 15*time.Second)
	c.MinBackoff = orDefault(c.MinBackoff, 20*time.Millisecond)
	c.MaxBackoff = max(c.MinBackoff, orDefault(c.MaxBackoff, 2*time.Second))
	c.GiveUp = max(c.Wait, orDefault(c.GiveUp, 60*time.Second))
	c.Logger = orDiscard(c.Logger)
	if c.Connections > 1<<16 {
		return c, fmt.Errorf("%d connections: a swarm has at most %d", c.Connections, 1<<16)
	}
	return c, checkLimits(c.FrameLimit, 0)
}

// ErrBadURL says that an address is not written as tcp://host:port or unix:///path.
var ErrBadURL = errors.New("bad URL")

// splitURL returns the network and the address of tcp://host:port or unix:///path.
func splitURL(raw string) (network, address string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("%w %q: write tcp://host:port or unix:///path", ErrBadURL, raw)
	}
	switch u.Scheme {
	case "tcp":
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" {
			return "", "", fmt.Errorf("%w %q: a tcp URL is tcp://host:port", ErrBadURL, raw)
		}
		return "tcp", u.Host, nil
	case "unix":
		path := u.Path
		if u.Host != "" || path == "" {
			return "", "", fmt.Errorf("%w %q: a unix URL is unix:///path, with three slashes", ErrBadURL, raw)
		}
		const longest = 100 // sun_path has 108 bytes on Linux, 104 on others
		if len(path) > longest {
			return "", "", fmt.Errorf("%w %q: the path of a unix socket has at most %d bytes", ErrBadURL, raw, longest)
		}
		return "unix", path, nil
	}
	return "", "", fmt.Errorf("%w %q: write tcp://host:port or unix:///path", ErrBadURL, raw)
}

func newID() (id proto.ID) {
	_, _ = rand.Read(id[:]) // never fails; it ends the process instead
	return id
}

// mostFrames bounds the bytes of one connection's frames whose tasks the pool has not let go of: twice what a client that
// keeps to its window has under way. Beside these there are tasks that were cancelled and wait in the queue for their turn
// to end, those that share a frame with one that runs for long, and those whose answer left a moment ago.
func (c *GatewayConfig) mostFrames() int64 {
	const moment = 1 << 20
	return 2*(c.WindowBytes+int64(c.Window)*proto.TaskHeaderSize) + moment
}
