package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	os.Exit(m.Run())
}

// TestSmallestPoints measures every variant of every dimension for a moment, at its two smallest values.
func TestSmallestPoints(t *testing.T) {
	dir := t.TempDir()
	for _, d := range dimensions {
		d.values = d.values[:2]
		grown := measure(d, plan{1, 20 * time.Millisecond, dir, t.Logf})
		for _, g := range grown {
			for _, p := range g.points {
				if p.err != nil || p.rate <= 0 || p.p99 <= 0 {
					t.Errorf("%s of %d, %s: %.0f tasks/s, %v", d.name, p.value, g.variant.name, p.rate, p.err)
				}
			}
		}
		if err := writePlot(dir, d, grown); err != nil {
			t.Error(err)
		}
		svg, err := os.ReadFile(filepath.Join(dir, "growth-"+d.name+".svg"))
		if err != nil || !strings.Contains(string(svg), d.axis) {
			t.Errorf("plot of %s: %d bytes, %v", d.name, len(svg), err)
		}
		var table bytes.Buffer
		printTable(&table, d, grown)
		if got, want := strings.Count(table.String(), "\n"), 5+2*len(d.variants); got != want {
			t.Errorf("the table has %d lines, not %d:\n%s", got, want, &table)
		}
	}
	if profiles, _ := filepath.Glob(filepath.Join(dir, "*.pprof")); len(profiles) == 0 {
		t.Error("no profiles")
	}
}

func TestKeys(t *testing.T) {
	if got := string(appendKey([]byte("x"), 120)); got != "xhost-00000120:uptime-abc" {
		t.Error(got)
	}
	seen := make(map[string]bool)
	for keys := shuffledKeys(1000); len(keys) > 0; keys = keys[keySize:] {
		seen[string(keys[:keySize])] = true
	}
	if len(seen) != 1000 || !seen[string(appendKey(nil, 999))] {
		t.Errorf("%d keys", len(seen))
	}
}

func TestChooseDimensions(t *testing.T) {
	if chosen, err := chooseDimensions("table,size"); err != nil || len(chosen) != 2 || chosen[1].name != "size" {
		t.Error(chosen, err)
	}
	if _, err := chooseDimensions("hosts"); err == nil || !strings.Contains(err.Error(), "inflight") {
		t.Error(err)
	}
}
