package sshrun

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/netio/runner"
	"shoal/netio/runner/sshtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait more than they work
	os.Exit(m.Run())
}

// newRunner returns a runner that ends with the test. Its time-outs are long: where none is meant to pass none may.
func newRunner(t *testing.T, c Config) *Runner {
	t.Helper()
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = time.Minute
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// write writes a file into a folder of the test.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// newDeviceRunner returns a runner that knows a device, and has a key.
func newDeviceRunner(t *testing.T, c Config, devices ...*sshtest.Device) *Runner {
	t.Helper()
	var known strings.Builder
	for _, d := range devices {
		known.WriteString(d.KnownHosts())
	}
	c.KnownHosts = write(t, known.String())
	if c.ConfigFile == "" {
		key := sshtest.NewKey(t, t.TempDir(), "ed25519")
		c.ConfigFile = write(t, "IdentityAgent none\nIdentitiesOnly yes\nUser me\nIdentityFile "+key.File+"\n")
	}
	return newRunner(t, c)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func ask(t *testing.T, r *Runner, target, command string, set ...func(*runner.Request)) *runner.Record {
	t.Helper()
	req := &runner.Request{Target: target, Command: command}
	for _, s := range set {
		s(req)
	}
	return r.Run(t.Context(), req, nil)
}
