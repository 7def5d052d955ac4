package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every figure of a load has a value, on processors that are shared too; the best peer is named.
func TestRateFigures(t *testing.T) {
	o, err := parseFigures([]string{"-q", "-loads", "batch", "-settings", "free,shared", "-peers", "drpc", "-rounds", "2", "-time", "20ms"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	printRates(&out, o, &builds{})
	for _, f := range rateFigures {
		if f.load != "batch" {
			continue
		}
		_, row, there := strings.Cut(out.String(), "| "+f.what+" | "+f.goal+" | ")
		row, _, _ = strings.Cut(row, "\n")
		if cells := strings.Split(row, " | "); !there || len(cells) != 2 || strings.Contains(row, "| – ") || strings.HasPrefix(row, "–") {
			t.Errorf("%s: %q", f.what, row)
		}
		if f.over == "" && strings.Count(row, ", drpc") != 2 {
			t.Errorf("%s: no best peer in %q", f.what, row)
		}
	}
}

func TestFigureOptions(t *testing.T) {
	for _, args := range [][]string{{"-parts", "rates,speed"}, {"-settings", "quiet"}, {"-rounds", "0"}, {"-peers", "rpcx"}, {"x"}} {
		if _, err := parseFigures(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	o, err := parseFigures([]string{"-parts", "lines,files"})
	if err != nil || !o.has(partFiles) || o.has(partRates) || len(o.settings) != 2 || len(o.peers) < 10 {
		t.Errorf("%+v, %v", o, err)
	}
}

// The ratio is that of rounds that were neighbours, and that of CPU has both processes in it.
func TestFigureCell(t *testing.T) {
	done := outcomes{"x": newOutcome(load{Name: "x"}, []result{
		{peer: peer{name: "shoal-map"}, rounds: []sample{{rate: 50, clientCPU: 1, serverCPU: 2}, {rate: 300, clientCPU: 1, serverCPU: 2}, {rate: 80, clientCPU: 2, serverCPU: 4}}},
		{peer: peer{name: "gnet"}, rounds: []sample{{rate: 100, clientCPU: 1, serverCPU: 1}, {rate: 200, clientCPU: 1, serverCPU: 1}, {rate: 100, clientCPU: 1, serverCPU: 1}}},
		{peer: peer{name: "before-map"}, rounds: []sample{{rate: 20}}},
		{peer: peer{name: "drpc"}, rounds: []sample{{rate: 40}, {rate: 40}, {rate: 40}}},
	})}
	for _, c := range []struct {
		f            rateFigure
		family, want string
	}{
		{rateFigure{load: "x", of: "shoal-map", over: "gnet", measure: taskRate}, shoalFamily, "0.80 (0.50–1.50)"},
		{rateFigure{load: "x", of: "shoal-map", over: "gnet", measure: bothCPU}, shoalFamily, "1.50 (1.50–3.00)"},
		{rateFigure{load: "x", of: "shoal-map", measure: taskRate}, shoalFamily, "2.00 (1.25–7.50), drpc"},
		{rateFigure{load: "x", of: "shoal-map", over: "gnet", measure: taskRate}, beforeFamily, "0.20"},
		{rateFigure{load: "x", of: "shoal-calls", over: "gnet", measure: taskRate}, shoalFamily, "–"},
		{rateFigure{load: "y", of: "shoal-map", measure: taskRate}, shoalFamily, "–"},
	} {
		if got := c.f.cell(done, c.family); got != c.want {
			t.Errorf("%+v of %s: %q, want %q", c.f, c.family, got, c.want)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	m := parseMetrics("goos: linux\nBenchmarkIdle/15000-2 \t 1\t 0.03 %core\t 2.80 KiB/conn\t15.00 goroutines\nPASS\n")
	if len(m) != 3 || m["KiB/conn"] != 2.8 || m["goroutines"] != 15 {
		t.Error(m)
	}
}

func TestCountLines(t *testing.T) {
	netio := t.TempDir()
	for name, text := range map[string]string{"a.go": "1\n2\n", "a_test.go": "x\n", "table.go": "x\n", "files/b.go": "x\n", "internal/lines/c.go": "3\n", "d.txt": "x\n"} {
		path := filepath.Join(netio, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := countLines(netio); n != 3 || err != nil {
		t.Errorf("%d lines, %v, want 3", n, err)
	}
}

// A child process keeps the processors busy for as long as it is there.
func TestBusy(t *testing.T) {
	busy, err := start("", role{Peer: busyRole}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.stop()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r, err := busy.ask(order{})
		if err != nil || time.Now().After(end) {
			t.Fatal("it uses no CPU: ", r.Usage.CPU, err)
		}
		if r.Usage.CPU > 50*time.Millisecond {
			return
		}
	}
}
