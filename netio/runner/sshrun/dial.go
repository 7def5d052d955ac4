package sshrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"shoal/netio/runner"
)

// connection is one that is kept. Its fields but client, raw, device and done are guarded by the device's mu.
type connection struct {
	device *device
	client *ssh.Client
	raw    net.Conn
	done   chan struct{} // closed when it has ended

	users    int // places: sessions, and connections through it
	sessions int
	limit    int // sessions that the device has room for, as far as it is known
	idle     *time.Timer
	dead     bool // nobody may take it any more
}

// usualSessions is the MaxSessions of an OpenSSH server that says nothing else.
const usualSessions = 10

// close ends the connection; it may be called more than once, and does not wait.
func (c *connection) close() {
	_ = c.raw.Close()
}

// dial makes a connection to a device. The context ends it at any stage; timeout is the limit of each.
func (r *Runner) dial(ctx context.Context, d *device, timeout time.Duration, p *progress) (*connection, *failure) {
	fail := func(reason runner.Reason, err error) (*connection, *failure) {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, &failure{stage: p.at(), reason: reason, err: err}
	}
	raw, hop, f := r.reach(ctx, d.s, timeout, p)
	if f != nil {
		return nil, f
	}
	select {
	case r.dials <- struct{}{}:
	case <-ctx.Done():
		r.work.Go(func() { _ = raw.Close() })
		if hop != nil {
			hop.leave(false)
		}
		return fail(runner.ReasonCanceled, ctx.Err())
	}
	h := &handshake{runner: r, s: d.s, raw: raw, progress: p, timeout: timeout}
	client, err := h.run(ctx)
	<-r.dials
	if err != nil {
		if hop != nil {
			hop.leave(false)
		}
		reason, err := h.explain(err)
		return fail(reason, err)
	}
	c := &connection{device: d, client: client, raw: raw, done: make(chan struct{}), limit: usualSessions}
	r.work.Go(func() { // ends with the connection; the caller is counted, so Close waits for this too
		_ = client.Wait()
		_ = raw.Close()
		close(c.done)
		d.lost(c)
		if hop != nil {
			hop.leave(false)
		}
	})
	r.work.Go(func() { c.keepAlive(d.s.aliveInterval, d.s.aliveMax) })
	return c, nil
}

// reach connects to the target's port, through its last jump host if it has one; hop is the place there.
func (r *Runner) reach(ctx context.Context, s *settings, timeout time.Duration, p *progress) (net.Conn, *place, *failure) {
	if len(s.jumps) > 0 {
		return r.reachThrough(ctx, s, timeout, p)
	}
	p.enter(runner.StageResolve)
	resolving, cancel := context.WithTimeout(ctx, timeout)
	addresses, err := net.DefaultResolver.LookupNetIP(resolving, "ip", s.host)
	cancel()
	if err != nil {
		return nil, nil, netFailure(ctx, runner.StageResolve, timeout, err)
	}
	p.enter(runner.StageConnect)
	end := time.Now().Add(timeout)
	for i, a := range addresses {
		dialer := net.Dialer{Deadline: time.Now().Add(time.Until(end) / time.Duration(len(addresses)-i)), KeepAlive: 15 * time.Second}
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), s.port)); err == nil {
			return conn, nil, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, netFailure(ctx, runner.StageConnect, timeout, err)
}

// reachThrough connects to the target's port from its last jump host, which is a device of its own.
func (r *Runner) reachThrough(ctx context.Context, s *settings, timeout time.Duration, p *progress) (net.Conn, *place, *failure) {
	p.enter(runner.StageConnect)
	last := s.jumps[len(s.jumps)-1]
	blame := func(reason runner.Reason, err error) (net.Conn, *place, *failure) {
		return nil, nil, &failure{stage: runner.StageConnect, reason: reason, err: fmt.Errorf("jump host %s: %w", last, err)}
	}
	hopSettings, err := r.settings.hop(s)
	if err != nil {
		return nil, nil, &failure{stage: runner.StageConnect, reason: runner.ReasonFailed, err: err}
	}
	hop, f := r.device(hopSettings).take(ctx, timeout, nil, false)
	if f != nil {
		if ctx.Err() != nil {
			return nil, nil, ended(ctx)
		}
		return blame(f.reason, fmt.Errorf("%v: %w", f.stage, f.err))
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := hop.conn.forward(limited, net.JoinHostPort(s.host, s.port))
	if err == nil {
		return conn, hop, nil
	}
	hop.leave(false)
	switch {
	case ctx.Err() != nil:
		return nil, nil, ended(ctx)
	case limited.Err() != nil:
		return blame(runner.ReasonTimeout, fmt.Errorf("connects to %s for %v, the limit", net.JoinHostPort(s.host, s.port), timeout))
	}
	if open, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		return blame(runner.ReasonUnreachable, fmt.Errorf("does not connect to %s: %s", net.JoinHostPort(s.host, s.port), orText(open.Message, open.Reason.String())))
	}
	return blame(runner.ReasonUnreachable, err)
}

// forward opens a connection from the device. The library's Dial has no limit of its own: it waits on a goroutine that ends
// with the answer or the connection.
func (c *connection) forward(ctx context.Context, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	answer := make(chan result)
	c.device.runner.work.Go(func() {
		conn, err := c.client.Dial("tcp", address)
		select {
		case answer <- result{conn, err}:
		case <-ctx.Done(): // nobody waits any more
			if err == nil {
				_ = conn.Close()
			}
		}
	})
	select {
	case r := <-answer:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keepAlive asks the device for a sign of life, and ends the connection when too many are not answered.
func (c *connection) keepAlive(interval time.Duration, limit int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	answered <- struct{}{}
	for missed := 0; ; {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		select {
		case <-answered:
			missed = 0
			c.device.runner.work.Go(func() { // ends with the answer or the connection
				_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- struct{}{}
			})
		default:
			if missed++; missed >= limit {
				c.close()
				return
			}
		}
	}
}

// handshake is what follows a connect: the versions, the keys, the host key, and who we are.
type handshake struct {
	runner   *Runner
	s        *settings
	raw      net.Conn
	timeout  time.Duration
	progress *progress

	creds    credentials
	late     atomic.Bool // the stage took too long
	limit    *time.Timer // of the stage
	known    []knownEntry
	portless bool // they are those of the host at any port

	mu      sync.Mutex // guards what follows
	refused *failure   // why we do not trust the host
}

// run makes a client of the connection. Until it returns each stage may last for timeout.
func (h *handshake) run(ctx context.Context) (*ssh.Client, error) {
	h.progress.enter(runner.StageHostKey)
	name := h.keyName()
	known, err := h.runner.known.lookup(h.s.knownHosts, name)
	if err == nil && len(known) == 0 && h.s.keyName == "" && h.s.port != "22" {
		known, err = h.runner.known.lookup(h.s.knownHosts, knownName(h.s.host, "22")) // as OpenSSH does
		h.portless = true
	}
	if err != nil {
		_ = h.raw.Close()
		return nil, err
	}
	h.known = known
	if h.s.agent != "" {
		if agent, err := net.DialTimeout("unix", h.s.agent, h.timeout); err == nil {
			h.creds.agent = agent
		}
	}
	defer h.creds.close()
	config := &ssh.ClientConfig{
		User: h.s.user, ClientVersion: "SSH-2.0-shoal", HostKeyCallback: h.hostKey,
		HostKeyAlgorithms: hostKeyAlgorithms(known, h.portless),
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			return h.runner.keys.signers(h.s, &h.creds), nil
		})},
	}
	cut := func() { // at the latest the end of what carries it ends the library's goroutine
		h.creds.close()
		_ = h.raw.Close()
	}
	h.limit = time.AfterFunc(h.timeout, func() {
		h.late.Store(true)
		cut()
	})
	defer h.limit.Stop()
	type result struct {
		client *ssh.Client
		err    error
	}
	made := make(chan result, 1)
	h.runner.work.Go(func() {
		conn, channels, requests, err := ssh.NewClientConn(h.raw, h.s.host, config)
		if err != nil {
			made <- result{nil, err}
			return
		}
		made <- result{ssh.NewClient(conn, channels, requests), nil}
	})
	select {
	case r := <-made:
		return r.client, r.err
	case <-ctx.Done():
		h.runner.work.Go(cut) // a hop that hangs may keep it waiting
		return nil, ctx.Err()
	}
}

func (h *handshake) keyName() string {
	if h.s.keyName != "" {
		return strings.ToLower(h.s.keyName)
	}
	return knownName(h.s.host, h.s.port)
}

// hostKey judges the key that the device has shown.
func (h *handshake) hostKey(_ string, _ net.Addr, key ssh.PublicKey) error {
	if f := h.judge(key); f != nil {
		h.mu.Lock()
		h.refused = f
		h.mu.Unlock()
		return f
	}
	h.progress.enter(runner.StageAuth)
	h.limit.Reset(h.timeout)
	return nil
}

// judge returns why the key is not trusted.
func (h *handshake) judge(key ssh.PublicKey) *failure {
	print := strings.TrimPrefix(key.Type(), "ssh-") + " " + ssh.FingerprintSHA256(key)
	fail := func(reason runner.Reason, format string, args ...any) *failure {
		return &failure{stage: runner.StageHostKey, reason: reason, err: fmt.Errorf(format, args...)}
	}
	v, at, err := judge(h.known, key, orText(h.s.keyName, h.s.host))
	if v == hostChanged && h.portless { // the port's own entry is what counts; the host's says nothing of it
		v = hostNew
	}
	if h.s.strict == off {
		return nil
	}
	switch {
	case v == hostOK && err != nil:
		return fail(runner.ReasonKeyChanged, "%w (authority: %s:%d)", err, at.file, at.line)
	case v == hostOK:
		return nil
	case v == hostRevoked:
		return fail(runner.ReasonKeyRevoked, "host key %s is marked as revoked in %s:%d; do not use the device until it has another", print, at.file, at.line)
	case v == hostChanged:
		return fail(runner.ReasonKeyChanged, "host key has changed: %s is not the one of %s:%d; if the device was set up anew, check its key and run ssh-keygen -R '%s' -f %s",
			print, at.file, at.line, h.keyName(), at.file)
	case h.s.strict == acceptNew && len(h.s.knownHosts) > 0:
		plain := key
		if cert, ok := key.(*ssh.Certificate); ok {
			plain = cert.Key
		}
		if err := h.runner.known.add(h.s.knownHosts[0], h.keyName(), plain, h.s.hash); err != nil {
			return fail(runner.ReasonLocal, "host key %s is new and cannot be written to %s: %w", print, h.s.knownHosts[0], rootCause(err))
		}
		return nil
	}
	return fail(runner.ReasonKeyUnknown, "host key %s of %s is in no known_hosts file (%s); check it and add it with ssh-keyscan, or accept new ones",
		print, h.keyName(), strings.Join(h.s.knownHosts, " "))
}

// explain makes what the library says into what a person wants to know.
func (h *handshake) explain(err error) (runner.Reason, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	stage := h.progress.at()
	if h.refused != nil {
		return h.refused.reason, h.refused.err
	}
	if h.late.Load() {
		return runner.ReasonTimeout, fmt.Errorf("no answer for %v, the limit", h.timeout)
	}
	if f, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		if len(h.known) > 0 && strings.Contains(f.Error(), "host key") {
			e := h.known[len(h.known)-1]
			return runner.ReasonKeyChanged, fmt.Errorf("the device has none of the host keys of %s:%d; if it was set up anew, check its key and run ssh-keygen -R '%s' -f %s",
				e.file, e.line, h.keyName(), e.file)
		}
		return runner.ReasonFailed, fmt.Errorf("no algorithm in common: %w", err)
	}
	if stage == runner.StageAuth && strings.Contains(err.Error(), "unable to authenticate") {
		return runner.ReasonAuth, fmt.Errorf("%s accepts no key for user %s: %s", h.s.alias, h.s.user, h.creds.list())
	}
	if stage == runner.StageAuth && strings.Contains(err.Error(), "Too many authentication failures") {
		return runner.ReasonAuth, fmt.Errorf("%s has seen enough keys for user %s: %s; name the right one with IdentityFile and IdentitiesOnly", h.s.alias, h.s.user, h.creds.list())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return runner.ReasonFailed, errClosedByDevice
	}
	return runner.ReasonFailed, errors.New(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "))
}

// netFailure classifies an error of the network.
func netFailure(ctx context.Context, stage runner.Stage, timeout time.Duration, err error) *failure {
	if ctx.Err() != nil {
		f := ended(ctx)
		f.stage = stage
		return f
	}
	f := &failure{stage: stage, reason: runner.ReasonFailed, err: rootCause(err)}
	local := []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EACCES}
	var dns *net.DNSError
	var op net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		f.reason, f.err = runner.ReasonNotFound, fmt.Errorf("no such host: %s", dns.Name)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		f.reason, f.err = runner.ReasonTimeout, fmt.Errorf("no answer for %v, the limit", timeout)
	case slices.ContainsFunc(local, func(e error) bool { return errors.Is(err, e) }):
		f.reason = runner.ReasonLocal
	case errors.Is(err, syscall.ECONNREFUSED):
		f.reason = runner.ReasonRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		f.reason = runner.ReasonUnreachable
	}
	return f
}

// rootCause is the error that a chain ends with.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
