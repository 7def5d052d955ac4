package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples are charts with all that may go wrong in them: a single point, what a logarithmic axis has no place for, no
// points at all, characters that XML minds.
func samples() []Chart {
	conns := []float64{1, 4, 16, 64, 256, 1000, 4000, 10000}
	curve := func(f func(x float64) float64) (points []Point) {
		for _, x := range conns {
			points = append(points, Point{x, f(x)})
		}
		return points
	}
	lines := Lines{
		Title: "p99 against the offered rate", X: "tasks offered a second", Y: "p99, µs", LogX: true, LogY: true,
		Series: []Series{
			{Name: "shoal", Emphasis: true, Points: curve(func(x float64) float64 { return 40 + x*x/9000 })},
			{Name: "shoal, batches", Emphasis: true, Dashed: true, Points: curve(func(x float64) float64 { return 60 + x*x/90000 })},
			{Name: "gRPC <stream>", Points: curve(func(x float64) float64 { return 70 + x*x/4000 })},
			{Name: "NATS & co", Points: curve(func(x float64) float64 { return 90 + x*x/2000 })},
			{Name: "drpc", Points: curve(func(x float64) float64 { return 50 + x*x/1000 })},
			{Name: "net/rpc", Dashed: true, Points: curve(func(x float64) float64 { return 45 + x*x/500 })},
			{Name: "floor", Points: curve(func(x float64) float64 { return 20 + x*x/20000 })},
			{Name: "nowhere", Points: []Point{{0, 1}, {1, 0}, {1, math.NaN()}, {math.Inf(1), 1}}},
		},
	}
	return []Chart{
		lines,
		Lines{Title: "tasks/s", X: "connections", LogX: true, Series: []Series{
			{Name: "shoal", Emphasis: true, Points: curve(func(x float64) float64 { return 2.7e6 - 90*x })}}},
		Lines{Title: "gateway's memory, MiB", X: "connections", LogX: true, LogY: true, Series: []Series{
			{Name: "shoal", Emphasis: true, Points: curve(func(x float64) float64 { return 30 + x/128 })}}},
		Bars{Title: "1024 over 8", X: "tasks/s", Values: []Bar{
			{Name: "shoal-map", Value: 2.71e6, Label: "2.71M", Emphasis: true}, {Name: "NATS", Value: 698e3},
			{Name: "<drpc>", Value: 278e3}, {Name: "failed", Value: math.NaN(), Label: "failed"}}},
		Bars{},
		Lines{Title: "one point", LogX: true, LogY: true, Series: []Series{{Points: []Point{{5, 5}}}}},
		Lines{Title: "none"},
	}
}

func TestSVG(t *testing.T) {
	for columns := range 4 {
		var b bytes.Buffer
		if err := WriteSVG(&b, columns, samples()...); err != nil {
			t.Fatal(err)
		}
		keep(t, columns, b.Bytes())
		if b.Len() > 100<<10 {
			t.Errorf("%d columns: %d bytes", columns, b.Len())
		}
		var again bytes.Buffer
		if err := WriteSVG(&again, columns, samples()...); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%d columns: drawn again it differs, %v", columns, err)
		}
		texts := textsOf(t, &b)
		for _, want := range []string{
			"p99 against the offered rate", "tasks offered a second", "p99, µs", "gRPC <stream>", "NATS & co", "nowhere",
			"10", "100", "1k", "10k", "1M", "2.71M", "698k", "<drpc>", "failed", "one point",
		} {
			if !texts[want] {
				t.Errorf("%d columns: no %q", columns, want)
			}
		}
	}
	if err := WriteSVG(io.Discard, 1); !errors.Is(err, errNoCharts) {
		t.Error("no charts:", err)
	}
}

// keep writes a drawing for somebody to look at, if SHOAL_CHARTS names a folder.
func keep(t *testing.T, columns int, svg []byte) {
	if dir := os.Getenv("SHOAL_CHARTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "columns"+string(rune('0'+columns))+".svg"), svg, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// textsOf parses a drawing and returns the texts in it.
func textsOf(t *testing.T, svg io.Reader) map[string]bool {
	t.Helper()
	texts := make(map[string]bool)
	for d := xml.NewDecoder(svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			texts[strings.TrimSpace(string(c))] = true
		}
	}
}

func TestTickLabels(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.1 + 0.2: "0.3", 999: "999", 1000: "1k", 1500: "1.5k", 2e6: "2M", -2500: "-2.5k", 3e9: "3G"} {
		if got := tickLabel(v); got != want {
			t.Errorf("%v is labelled %q, not %q", v, got, want)
		}
	}
	for _, tc := range []struct {
		ticks       ticks
		least, most float64
		want        string
	}{
		{ticks{}, 0, 3e6, "0 500k 1M 1.5M 2M 2.5M 3M"},
		{ticks{true}, 1, 1e4, "1 10 100 1k 10k"},
		{ticks{true}, 20, 500, "20 50 100 200 500"},
		{ticks{true}, 1, 1e8, "1 100 10k 1M 100M"},
	} {
		var labels []string
		for _, mark := range tc.ticks.Ticks(tc.least, tc.most) {
			if mark.Label != "" {
				labels = append(labels, mark.Label)
			}
		}
		if got := strings.Join(labels, " "); got != tc.want {
			t.Errorf("%v to %v: %s", tc.least, tc.most, got)
		}
	}
}
