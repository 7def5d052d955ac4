package probe

import (
	"context"
	"net"
	"time"
)

// Service is what was read from an open port. Everything in it is bounded, and comes from the other side: whoever prints it
// has to expect any bytes.
type Service struct {
	Banner []byte // what the port said first, MaxBanner bytes at most
	TLS    *TLS   // nil where no handshake was asked for, or the port spoke first
	HTTP   *HTTP  // nil where HTTP was not asked for, or the port spoke first
	// Error is why the reading ended early: the connection was lost, or could not be made a second time.
	Error string
}

// Limits of what is read from one port.
const (
	MaxBanner  = 1024
	maxNames   = 64
	maxName    = 255
	maxText    = 255 // bytes of titles, server names and errors
	httpLimit  = 64 << 10
	tlsLimit   = 256 << 10
	bannerWait = time.Second // a port that speaks first does so within this, or counts as one that does not
)

type serviceOptions struct {
	banner, tls, http bool
	timeout           time.Duration
	dial              DialFunc
}

func (o serviceOptions) any() bool { return o.banner || o.tls || o.http }

// serviceEnd tells the loop that the reader of a slot has ended.
type serviceEnd struct {
	slot    int
	service *Service
	elapsed time.Duration // of the connect
}

// readService starts the reader of a slot; it ends with the scan at the latest.
func (e *engine) readService(i int, conn net.Conn, elapsed time.Duration) {
	s := &e.slots[i]
	s.reading = true
	r := serviceReader{serviceOptions: e.opts.service, target: e.plan.text(s.target), address: net.JoinHostPort(s.address.String(), portText(s.door))}
	go func() {
		service := r.read(e.ctx, conn)
		e.services <- serviceEnd{i, service, elapsed} // there is room for all
		e.conn.wake()
	}()
}

// takeServices settles the probes whose readers have ended.
func (e *engine) takeServices() {
	for e.ctx.Err() == nil { // its end has cut the reading off
		select {
		case end := <-e.services:
			s := &e.slots[end.slot]
			s.reading = false
			more := &details{attempts: s.attempts, address: s.address, service: end.service}
			j := s.job
			e.leave(end.slot)
			e.finish(j, Open, end.elapsed, more)
		default:
			return
		}
	}
}

// serviceReader reads one open port.
type serviceReader struct {
	serviceOptions
	target  string // the name for TLS and HTTP
	address string
}

// read reads and closes conn.
func (r *serviceReader) read(ctx context.Context, conn net.Conn) *Service {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	s := &Service{}
	stop := closeWith(ctx, conn, deadline)
	if r.banner {
		s.Banner = readBanner(conn, time.Now().Add(min(bannerWait, r.timeout/2)))
		_ = conn.SetReadDeadline(deadline)
	}
	if len(s.Banner) > 0 || !r.tls && !r.http {
		stop()
		return s
	}
	secured := conn
	if r.tls {
		secured, s.TLS = handshake(ctx, conn, r.target)
	}
	if r.http && secured == nil { // not TLS; what the handshake wrote has spoiled the connection
		stop()
		plain, err := r.dial(ctx, "tcp", r.address)
		if err != nil {
			s.Error = bounded(err.Error(), maxText)
			return s
		}
		stop = closeWith(ctx, plain, deadline)
		secured = plain
	}
	if r.http {
		s.HTTP = askHTTP(secured, r.target)
	}
	stop()
	return s
}

// closeWith closes conn by a reset, at the end of ctx or when the function that it returns is called, which is needed.
func closeWith(ctx context.Context, conn net.Conn, deadline time.Time) (stop func()) {
	_ = conn.SetDeadline(deadline)
	cancel := context.AfterFunc(ctx, func() { abortive(conn) })
	return func() {
		if cancel() {
			abortive(conn)
		}
	}
}

// readBanner returns what the port says first; nothing by then is not an error.
func readBanner(conn net.Conn, until time.Time) []byte {
	_ = conn.SetReadDeadline(until)
	buf := make([]byte, MaxBanner)
	n, _ := conn.Read(buf)
	return buf[:n]
}

// bounded cuts a text from the other side.
func bounded(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
