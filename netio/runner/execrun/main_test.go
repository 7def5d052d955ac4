package execrun

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"

	"shoal/netio/runner"
)

func TestMain(m *testing.M) {
	Supervise()
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait more than they work
	os.Exit(m.Run())
}

// keepers calls test once for each keeper that the system has, as a subtest of its name.
func keepers(t *testing.T, test func(t *testing.T, r *Runner)) {
	for _, kind := range keeperKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, kind, Config{})
			test(t, r)
		})
	}
}

// newRunner returns a runner with a keeper of this kind; the end of the test closes it and looks for what is left.
func newRunner(t *testing.T, kind string, c Config) *Runner {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" && kind != r.Containment() {
		if kind == "cgroup" {
			_ = r.Close()
			t.Skip("there is no cgroup v2 in which this process may make groups")
		}
		_ = r.keeper.close()
		r.keeper = keeperOf(kind)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// sh runs a script.
func sh(r *Runner, t *testing.T, script string, set ...func(*runner.Request)) *runner.Record {
	t.Helper()
	req := &runner.Request{Target: t.Name(), Command: script, Shell: true}
	for _, s := range set {
		s(req)
	}
	return r.Run(t.Context(), req, nil)
}

func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
}

// tagged returns the processes that carry a tag in their environment or arguments.
func tagged(t *testing.T, tag string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		environment, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		arguments, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if strings.Contains(string(environment)+string(arguments), tag) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return found
}
