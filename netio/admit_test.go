package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"shoal/proto"
)

func TestAdmitDecidesAboutEachHello(t *testing.T) {
	var verdict atomic.Pointer[error]
	decide := func(err error) { verdict.Store(&err) }
	decide(errors.New("the house is closed today"))
	var asked atomic.Int32
	g := startGateway(t, GatewayConfig{Admit: func(_ context.Context, c Client) error {
		asked.Add(1)
		if c.RemoteAddr == "" || c.Resumes {
			return fmt.Errorf("unexpected client %+v", c)
		}
		return *verdict.Load()
	}})
	_, err := Dial(testContext(t), g.URLs()[0], nil)
	if !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "closed today") {
		t.Errorf("refused with %v", err)
	}
	decide(fmt.Errorf("%w: come back", ErrFull))
	if _, err := Dial(testContext(t), g.URLs()[0], nil); !errors.Is(err, ErrFull) {
		t.Errorf("full: %v", err)
	}
	decide(nil)
	before := asked.Load()
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 3})
	if out, err := s.Call(testContext(t), "echo", []byte("in")); err != nil || string(out) != "in" {
		t.Errorf("%q, %v", out, err)
	}
	if n := asked.Load() - before; n != 3 {
		t.Errorf("asked %d times for 3 connections", n)
	}
}

// A client that leaves while it is being decided about frees who decides.
func TestAdmitEndsWithTheConnection(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	g := startGateway(t, GatewayConfig{Admit: func(ctx context.Context, _ Client) error {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return ctx.Err()
	}})
	p := connect(t, g)
	p.write(proto.AppendHello(nil, helloFor()))
	within(t, "it is asked", begun)
	_ = p.conn.Close()
	within(t, "the context ends", ended)
	eventually(t, "nothing is left", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.greeting) == 0 && len(g.handlers) == 0 })
}

func TestDialerOfTheCaller(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var dialled atomic.Int32
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
	if n := dialled.Load(); n != 2 {
		t.Errorf("dialled %d times", n)
	}
	refused := errors.New("not today")
	_, err := Dial(testContext(t), g.URLs()[0], &SwarmConfig{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
	if !errors.Is(err, refused) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// Admit knows a client by its credential, at its first hello and when it comes back.
func TestAdmitByCredential(t *testing.T) {
	resumed := make(chan string, 16)
	g := startGateway(t, GatewayConfig{Admit: func(_ context.Context, c Client) error {
		if string(c.Credential) != "let me in" {
			return fmt.Errorf("credential %q", c.Credential)
		}
		if c.Resumes {
			resumed <- string(c.Credential)
		}
		return nil
	}})
	for _, credential := range []string{"", "let us in"} {
		if _, err := Dial(testContext(t), g.URLs()[0], &SwarmConfig{Credential: []byte(credential)}); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("credential %q: %v", credential, err)
		}
	}
	proxy := startFaultProxy(t, g.URLs()[0], faultPlan{})
	s := dial(t, proxy.url(), &SwarmConfig{Connections: 1, Credential: []byte("let me in")})
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Fatal(err)
	}
	proxy.cutAll()
	within(t, "it comes back", resumed)
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
	if _, err := Dial(testContext(t), g.URLs()[0], &SwarmConfig{Credential: make([]byte, proto.CredentialLimit+1)}); !errors.Is(err, ErrBadConfig) {
		t.Errorf("a credential that is too long: %v", err)
	}
}
