package netio

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	"shoal/proto"
)

// A connection that has greeted, and one that has not, cost no goroutine.
func TestConnectionsCostNoGoroutine(t *testing.T) {
	checkLeaks(t)
	g := startGateway(t, GatewayConfig{})
	before := runtime.NumGoroutine()
	const connections = 400
	var silent []*raw
	for range connections / 2 {
		silent = append(silent, connect(t, g))
		connect(t, g).greet(helloFor())
	}
	eventually(t, "all are served", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.greeting) == len(silent) && len(g.handlers) == connections/2
	})
	eventually(t, "no goroutine is left of them", func() bool { return runtime.NumGoroutine() < before+50 })
}

// A hello may come in any pieces.
func TestHelloByteByByte(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g)
	for _, b := range proto.AppendHello(nil, helloFor()) {
		p.write([]byte{b})
	}
	if f := p.next(); f.Kind != proto.KindWelcome {
		t.Fatalf("kind %#02x in place of a welcome", f.Kind)
	}
	p.echo()
}

// What follows the hello before the welcome is none of the protocol's.
func TestBytesBeforeWelcome(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g)
	p.write(append(proto.AppendHello(nil, helloFor()), tasksFrame(0, "echo", rawTask{0, ""})...))
	p.goodbye(proto.GoodbyeMalformed)
	if n := g.Stats().Handlers; n != 0 {
		t.Errorf("%d handlers", n)
	}
}

// Serve takes the caller's listeners: of TCP, which event loops read, and of TLS, which goroutines read.
func TestServe(t *testing.T) {
	checkLeaks(t)
	plain := listenTCP(t)
	sealed := tls.NewListener(listenTCP(t), &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	g := newGateway(GatewayConfig{})
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, plain, sealed) }()
	eventually(t, "it serves", func() bool { return len(g.URLs()) == 2 })
	connect(t, g).greet(helloFor()).echo()
	conn, err := tls.Dial("tcp", sealed.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newRaw(t, conn).greet(helloFor())
	p.echo()
	cancel()
	if err := within(t, "the end", done); err != nil {
		t.Error(err)
	}
	p.goodbye(proto.GoodbyeDraining)
	if _, err := net.Dial("tcp", plain.Addr().String()); err == nil {
		t.Error("a listener is left open")
	}
}

func TestServeRefuses(t *testing.T) {
	ln := listenTCP(t)
	if err := newGateway(GatewayConfig{}).StartOn(); !errors.Is(err, ErrBadURL) {
		t.Errorf("without a listener: %v", err)
	}
	g := startGateway(t, GatewayConfig{})
	if err := g.StartOn(ln); !errors.Is(err, ErrClosed) {
		t.Errorf("started again: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is left open: %v", err)
	}
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// selfSigned returns a certificate of its own.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
