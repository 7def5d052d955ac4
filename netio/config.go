package netio

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
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

// ErrBadConfig says that a field of a configuration has a value that it cannot have.
var ErrBadConfig = errors.New("bad configuration")

// settings settles the fields of one configuration. It keeps the first mistake.
type settings struct{ err error }

// setting gives a field that is zero its default. A negative value is a mistake.
func setting[T int | int64 | time.Duration](s *settings, name string, field *T, def T) {
	switch {
	case *field == 0:
		*field = def
	case *field < 0 && s.err == nil:
		s.err = fmt.Errorf("%w: %s is %v; zero is the default", ErrBadConfig, name, *field)
	}
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
		scheme, _, err := splitURL(u)
		if err != nil {
			return c, err
		}
		if scheme == "tls" && c.TLS == nil {
			return c, fmt.Errorf("%w: TLS has to be set for %s", ErrBadConfig, u)
		}
	}
	var s settings
	setting(&s, "Workers", &c.Workers, 1024)
	setting(&s, "MaxHandlers", &c.MaxHandlers, defaultHandlers())
	setting(&s, "Window", &c.Window, 64<<10)
	setting(&s, "WindowBytes", &c.WindowBytes, 64<<20)
	setting(&s, "FrameLimit", &c.FrameLimit, 4<<20)
	setting(&s, "SendBuffer", &c.SendBuffer, 8<<20)
	c.SendBuffer = max(c.SendBuffer, minSendBuffer)
	setting(&s, "Streams", &c.Streams, 4096)
	setting(&s, "MaxStreams", &c.MaxStreams, 64<<10)
	setting(&s, "StreamCredit", &c.StreamCredit, 512<<10)
	setting(&s, "ConnectionCredit", &c.ConnectionCredit, 0)
	c.ConnectionCredit = min(c.ConnectionCredit, 1<<31-1)
	setting(&s, "HandshakeTimeout", &c.HandshakeTimeout, 10*time.Second)
	setting(&s, "IdleTimeout", &c.IdleTimeout, 60*time.Second)
	setting(&s, "WriteTimeout", &c.WriteTimeout, 30*time.Second)
	setting(&s, "SessionTimeout", &c.SessionTimeout, 60*time.Second)
	setting(&s, "RetryAfter", &c.RetryAfter, 250*time.Millisecond)
	setting(&s, "DrainTimeout", &c.DrainTimeout, 30*time.Second)
	c.Logger = orDiscard(c.Logger)
	if s.err != nil {
		return c, s.err
	}
	if err := checkSuccessor(c.Successor); err != nil {
		return c, err
	}
	return c, checkLimits(c.FrameLimit, c.Window)
}

func checkLimits(frameLimit, window int) error {
	if frameLimit < proto.MinFrameLimit || frameLimit > maxFrameLimit {
		return fmt.Errorf("%w: FrameLimit is %d; it has to be from %d to %d bytes", ErrBadConfig, frameLimit, proto.MinFrameLimit, maxFrameLimit)
	}
	if window > maxWindow {
		return fmt.Errorf("%w: Window is %d; it has to be at most %d tasks", ErrBadConfig, window, maxWindow)
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
	var s settings
	setting(&s, "Connections", &c.Connections, 4)
	setting(&s, "FrameLimit", &c.FrameLimit, 4<<20)
	setting(&s, "SendBuffer", &c.SendBuffer, 8<<20)
	c.SendBuffer = max(c.SendBuffer, minSendBuffer)
	setting(&s, "StreamCredit", &c.StreamCredit, 512<<10)
	setting(&s, "ConnectionCredit", &c.ConnectionCredit, 0)
	c.ConnectionCredit = min(c.ConnectionCredit, 1<<31-1)
	setting(&s, "DialTimeout", &c.DialTimeout, 5*time.Second)
	setting(&s, "Heartbeat", &c.Heartbeat, 15*time.Second)
	setting(&s, "MinBackoff", &c.MinBackoff, 20*time.Millisecond)
	setting(&s, "MaxBackoff", &c.MaxBackoff, 2*time.Second)
	c.MaxBackoff = max(c.MaxBackoff, c.MinBackoff)
	setting(&s, "Wait", &c.Wait, 0)
	setting(&s, "GiveUp", &c.GiveUp, 60*time.Second)
	c.GiveUp = max(c.GiveUp, c.Wait)
	c.Logger = orDiscard(c.Logger)
	if c.Connections > 1<<16 {
		return c, fmt.Errorf("%w: %d connections; a swarm has at most %d", ErrBadConfig, c.Connections, 1<<16)
	}
	if s.err != nil {
		return c, s.err
	}
	if len(c.Credential) > proto.CredentialLimit {
		return c, fmt.Errorf("%w: Credential has %d bytes; it has to have at most %d", ErrBadConfig, len(c.Credential), proto.CredentialLimit)
	}
	return c, checkLimits(c.FrameLimit, 0)
}

// ErrBadURL says that an address is not written as tcp://host:port, tls://host:port or unix:///path.
var ErrBadURL = errors.New("bad URL")

// splitURL returns the scheme (tcp, tls or unix) and the address of tcp://host:port, tls://host:port or unix:///path.
func splitURL(raw string) (scheme, address string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("%w %q: %s", ErrBadURL, raw, urlHint(raw))
	}
	switch u.Scheme {
	case "tcp", "tls":
		if u.Path == "/" && u.RawQuery == "" && u.Fragment == "" {
			return "", "", fmt.Errorf("%w %q: write %s, without the slash at the end", ErrBadURL, raw, strings.TrimSuffix(raw, "/"))
		}
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" {
			return "", "", fmt.Errorf("%w %q: a %s URL is %s://host:port", ErrBadURL, raw, u.Scheme, u.Scheme)
		}
		return u.Scheme, u.Host, nil
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
	return "", "", fmt.Errorf("%w %q: write tcp://host:port, tls://host:port or unix:///path", ErrBadURL, raw)
}

// urlHint says what to write in place of what is no URL.
func urlHint(raw string) string {
	if address, zone, ok := strings.Cut(raw, "%"); ok && strings.HasPrefix(raw, "tcp://[") && !strings.HasPrefix(zone, "25") {
		return fmt.Sprintf("the zone of an address stands after %%25: write %s%%25%s", address, zone)
	}
	return "write tcp://host:port, tls://host:port or unix:///path"
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
