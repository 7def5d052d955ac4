package trust

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"shoal/netio"
)

// patience bounds every wait of a test: only a test that fails waits so long.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newFolder makes a folder with a CA, and certificates for these clients.
func newFolder(t testing.TB, clients ...string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "trust")
	must[[]string](t)(Init(folder, nil))
	for _, name := range clients {
		must[[]string](t)(Issue(folder, name, false))
	}
	return folder
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := replace(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// startGateway starts a gateway that a folder and rights guard and that watches them. It says who asks.
func startGateway(t testing.TB, folder, rights string, listen ...string) (*netio.Gateway, *Gate) {
	t.Helper()
	gate := must[*Gate](t)(NewGate(folder, rights, quiet))
	if len(listen) == 0 {
		listen = []string{"tls://127.0.0.1:0"}
	}
	config := netio.GatewayConfig{Listen: listen}
	gate.Configure(&config)
	gw := netio.NewGateway(config)
	gw.HandleCall("who", func(ctx context.Context, _ []byte) ([]byte, error) { return []byte(netio.PeerFrom(ctx).Identity), nil })
	gw.HandleStream("wait", func(ctx context.Context, _ []byte, out *netio.Stream) error {
		if err := out.Send(1, nil); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() { gate.Watch(ctx, gw); close(watched) }()
	t.Cleanup(func() { cancel(); <-watched; _ = gw.Close() })
	return gw, gate
}

// as returns how a client of the folder dials.
func as(t testing.TB, folder, identity, url string) *netio.SwarmConfig {
	t.Helper()
	c := ClientConfig{Folder: folder, Identity: identity, Address: url[len("tls://"):]}
	tls, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return &netio.SwarmConfig{Connections: 1, TLS: tls, DialTimeout: patience}
}

// who dials, asks the gateway who it takes the client for, and leaves.
func who(t testing.TB, url string, config *netio.SwarmConfig) (string, error) {
	s, err := netio.Dial(testContext(t), url, config)
	if err != nil {
		return "", err
	}
	defer s.Close()
	out, err := s.Call(testContext(t), "who", nil)
	return string(out), err
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

// copyFile copies a file between folders.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700)); err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
