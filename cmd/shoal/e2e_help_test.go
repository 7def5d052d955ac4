package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	o := shoal(t, "", "--version").want(t, 0)
	if !regexp.MustCompile(`^shoal 0\.1\.0( \([0-9a-f]{12}\))? go1\.\d+(\.\d+)?.*\n$`).MatchString(o.stdout) || o.stderr != "" {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
}

// Each help names its flags with their defaults, and shows an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"":              {"server", "client run", "client stop", "shoal client run --embedded --table testdata/table.txt testdata/commands.txt"},
		"server":        {"shoal server --table testdata/table.txt", "shoal server --demo", "--drain-timeout=30s", "tcp://127.0.0.1:1857"},
		"client":        {"$SHOAL_GATEWAY", "default tcp://127.0.0.1:1857", "default 4", "shoal client call square 12"},
		"client run":    {"shoal client run testdata/commands.txt --batch 16", "Exit status: 0 all ok", "Tasks to a frame. Default: 16"},
		"client call":   {"shoal client call square 12"},
		"client map":    {"seq 100 | shoal client map square --keep-order", "--on-restart", "--retries=0", "--retry-failed", "Exit status: 0 all ok"},
		"client stream": {"shoal client stream sensor | head -3"},
		"client send":   {"shoal client send store body.bin"},
		"client list":   {"shoal client list"},
		"client ping":   {"shoal client --connections 2 ping -n 5"},
		"client stop":   {"shoal client stop", "--allow-stop"},
	} {
		o := shoal(t, "", append(strings.Fields(args), "--help")...).want(t, 0)
		if !strings.HasPrefix(o.stdout, "Usage: shoal") || o.stderr != "" {
			t.Errorf("%s --help: %q, %q", args, o.stdout, o.stderr)
		}
		text := strings.Join(strings.Fields(o.stdout), " ") // wherever the lines were broken
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s --help does not show %q:\n%s", args, w, o.stdout)
			}
		}
	}
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo", "--log-format", "json", "--allow-stop")
	g.client(t, "x\n", "map", "square").want(t, exitFailed)
	g.client(t, "", "stop").want(t, 0)
	g.wait()
	for line := range strings.Lines(g.stderr.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Level != "INFO" || entry.Msg == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	// Serves, is asked to stop, drains, stopped; and connections of clients that were gone before they were welcome.
	if lines := strings.Count(g.stderr.String(), "\n") - strings.Count(g.stderr.String(), "connection refused"); lines != 4 {
		t.Errorf("%d lines:\n%s", lines, g.stderr.String())
	}
	g = serve(t, "--demo", "--log-level", "error", "--allow-stop")
	g.client(t, "", "stop").want(t, 0)
	if g.wait(); g.stderr.String() != "" {
		t.Errorf("%q", g.stderr.String())
	}
}
