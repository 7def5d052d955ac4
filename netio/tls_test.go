package netio

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// keyPair returns a certificate for a name, self-signed, and what trusts it.
func keyPair(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, pool
}

// startTLS starts a gateway at a tls:// address that takes any certificate and names clients by it, and returns the client's side.
func startTLS(t testing.TB, c GatewayConfig) (*Gateway, func(name string) *SwarmConfig) {
	cert, trusted := keyPair(t, "gateway")
	c.Listen = []string{"tls://127.0.0.1:0"}
	c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	if c.Authenticate == nil {
		c.Authenticate = func(_ context.Context, c Client) (string, error) {
			if c.Peer.TLS == nil || len(c.Peer.TLS.PeerCertificates) == 0 {
				return "", errors.New("show a certificate")
			}
			return c.Peer.TLS.PeerCertificates[0].Subject.CommonName, nil
		}
	}
	g := startGateway(t, c)
	return g, func(name string) *SwarmConfig {
		own, _ := keyPair(t, name)
		return &SwarmConfig{Connections: 2, TLS: &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{own}}}
	}
}

func TestTLSCarriesEverythingAndTellsWhoAsks(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{Interceptors: []Interceptor{func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
		if c.Peer.Identity != "alice" || c.Peer.TLS.Version != tls.VersionTLS13 || c.Peer.Addr != c.Remote {
			return nil, fmt.Errorf("unexpected peer %+v", c.Peer)
		}
		return next(ctx, c)
	}}})
	g.HandleCall("who", func(ctx context.Context, _ []byte) ([]byte, error) { return []byte(PeerFrom(ctx).Identity), nil })
	g.HandleSend("size", func(ctx context.Context, _ []byte, body io.Reader) ([]byte, error) {
		n, err := io.Copy(io.Discard, body)
		return fmt.Appendf(nil, "%s sent %d", PeerFrom(ctx).Identity, n), err
	})
	s := dial(t, g.URLs()[0], as("alice"))
	if out, err := s.Call(testContext(t), "who", nil); err != nil || string(out) != "alice" {
		t.Errorf("%q, %v", out, err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // in parts, and more than a socket takes at once
	if out, err := s.Call(testContext(t), "echo", large); err != nil || !bytes.Equal(out, large) {
		t.Errorf("%d bytes come back of %d, %v", len(out), len(large), err)
	}
	if out, err := s.Send(testContext(t), "size", nil, bytes.NewReader(large)); err != nil || string(out) != fmt.Sprintf("alice sent %d", len(large)) {
		t.Errorf("%q, %v", out, err)
	}
	var items [][]byte
	for i := range 5000 {
		items = append(items, fmt.Appendf(nil, "item %d", i))
	}
	n := 0
	for r, err := range s.Map(testContext(t), "echo", slices.Values(items), &MapOptions{Batch: 16}) {
		if n++; err != nil || !bytes.Equal(r.Body, items[r.Index]) {
			t.Fatalf("item %d: %q, %v", r.Index, r.Body, err)
		}
	}
	if n != len(items) {
		t.Errorf("%d answers of %d", n, len(items))
	}
}

// A session is worth nothing to another identity: its lane begins anew, and the owner's goes on.
func TestSessionBelongsToAnIdentity(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], as("alice"))
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Fatal(err)
	}
	mallory := as("mallory")
	stolen, err := newSwarm(g.URLs()[0], mallory)
	if err != nil {
		t.Fatal(err)
	}
	defer stolen.Close()
	stolen.session = s.session
	l := stolen.lanes[0]
	l.welcomed, l.key, l.begun, l.helloClock = true, s.lanes[0].key, s.lanes[0].begun, s.lanes[0].helloClock+1000
	k, welcome, err := l.connect(testContext(t))
	if err != nil || welcome.Resumed {
		t.Fatalf("resumed %v, %v", welcome.Resumed, err)
	}
	k.close()
	if out, err := s.Call(testContext(t), "echo", []byte("still")); err != nil || string(out) != "still" || s.Connected() != 2 {
		t.Errorf("%q, %v, %d connections", out, err, s.Connected())
	}
}

func TestTLSRefusals(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	alice := as("alice")
	for what, c := range map[string]struct {
		url    string
		config *SwarmConfig
		want   error
		text   string
	}{
		"plain client":       {strings.Replace(g.URLs()[0], "tls", "tcp", 1), nil, ErrNotAllowed, "tls://"},
		"no certificate":     {g.URLs()[0], &SwarmConfig{TLS: &tls.Config{RootCAs: alice.TLS.RootCAs}}, ErrNotAllowed, "show a certificate"},
		"unknown CA":         {g.URLs()[0], &SwarmConfig{}, ErrUntrusted, ""},
		"other name":         {g.URLs()[0], &SwarmConfig{TLS: &tls.Config{RootCAs: alice.TLS.RootCAs, ServerName: "other"}}, ErrUntrusted, "other"},
		"TLS to plain shoal": {strings.Replace(startGateway(t, GatewayConfig{}).URLs()[0], "tcp", "tls", 1), alice, ErrNotShoal, "TLS"},
	} {
		if _, err := Dial(testContext(t), c.url, c.config); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	old, err := tls.Dial("tcp", strings.TrimPrefix(g.URLs()[0], "tls://"), &tls.Config{RootCAs: alice.TLS.RootCAs, MaxVersion: tls.VersionTLS12})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v, %v", old, err)
	}
	if _, err := (GatewayConfig{Listen: []string{"tls://127.0.0.1:0"}}).settle(); !errors.Is(err, ErrBadConfig) {
		t.Errorf("tls:// without TLS: %v", err)
	}
}

func TestAuthorizeIsAskedAboutTasksAndStreams(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{Authorize: func(p *Peer, subroutine string, shape Shape) error {
		if p.Identity == "alice" && subroutine == "echo" && shape == ShapeCall {
			return nil
		}
		return fmt.Errorf("%s may not use the %v %s", p.Identity, shape, subroutine)
	}})
	g.HandleStream("secret", func(context.Context, []byte, *Stream) error { t.Error("it runs"); return nil })
	s := dial(t, g.URLs()[0], as("alice"))
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
	for range s.Map(testContext(t), "hidden", slices.Values([][]byte{nil, nil}), nil) {
	}
	if _, err := s.Call(testContext(t), "hidden", nil); !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "alice may not use the call hidden") {
		t.Error(err)
	}
	for _, err := range s.Stream(testContext(t), "secret", nil) {
		if !errors.Is(err, ErrNotAllowed) {
			t.Error(err)
		}
	}
}

// Half-open handshakes hold a bounded number of places, and the others get theirs.
func TestTLSHalfOpenHandshakes(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	address := strings.TrimPrefix(g.URLs()[0], "tls://")
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{22, 3, 1, 1, 0, 1}) // the start of a hello
	}
	s := dial(t, g.URLs()[0], as("alice"))
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}

// byteByByte writes one byte a time.
type byteByByte struct {
	net.Conn
	written atomic.Int64
}

func (c *byteByByte) Write(p []byte) (int, error) {
	for i := range p {
		if c.written.Add(1) > 20_000 {
			return c.Conn.Write(p)
		}
		if n, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

func TestTLSRecordsCutAnywhere(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	config := as("alice")
	config.Connections = 1
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &byteByByte{Conn: conn}, err
	}
	s := dial(t, g.URLs()[0], config)
	for size := range 300 {
		in := bytes.Repeat([]byte{byte(size)}, size)
		if out, err := s.Call(testContext(t), "echo", in); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

// A client that goes away in the middle of a handshake, or whose records are broken, leaves nothing behind.
func TestTLSBrokenRecordEndsTheConnection(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.URLs()[0], "tls://"), as("alice").TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(proto.AppendHello(nil, helloFor())); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, proto.HeaderSize)); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.NetConn().Write([]byte{23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	_, _ = io.Copy(io.Discard, conn)
	eventually(t, "the connection is let go of", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for h := range g.handlers {
			if h.current() != nil {
				return false
			}
		}
		return len(g.greeting) == 0
	})
}

// The answer to somebody's idempotency key is not for another identity that names the same key.
func TestIdempotencyKeyBelongsToAnIdentity(t *testing.T) {
	g, as := startTLS(t, GatewayConfig{})
	g.HandleCall("who", func(ctx context.Context, _ []byte) ([]byte, error) { return []byte(PeerFrom(ctx).Identity), nil })
	for _, name := range []string{"alice", "mallory", "alice"} {
		s := dial(t, g.URLs()[0], as(name))
		options := &MapOptions{Key: func(int, int) []byte { return []byte("the same") }}
		for r, err := range s.Map(testContext(t), "who", slices.Values([][]byte{nil}), options) {
			if err != nil || string(r.Body) != name {
				t.Errorf("%s gets %q, %v", name, r.Body, err)
			}
		}
	}
}
