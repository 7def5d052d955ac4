package main

import (
	"io"
	"os"
	"path/filepath"

	"shoal/bench/peers/chart"
)

// The files that plot writes.
const (
	rateFile    = "tasks.svg"
	latencyFile = "latency.svg"
)

// plot writes the plots into a folder: rates as bars, and latencies over offered rates if these were measured.
func (m *measured) plot(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	err := writeFile(filepath.Join(folder, rateFile), m.plotRates)
	if err != nil || len(m.ladders) == 0 {
		return err
	}
	return writeFile(filepath.Join(folder, latencyFile), m.plotLatencies)
}

func writeFile(name string, write func(w io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func (m *measured) plotRates(w io.Writer) error {
	var charts []chart.Chart
	for _, o := range m.outcomes {
		bars := chart.Bars{Title: o.load.Title, X: o.load.unit() + "s/s"}
		for _, r := range o.results {
			bars.Values = append(bars.Values, chart.Bar{Name: r.peer.name, Value: r.rate(), Label: count(r.rate()),
				Emphasis: r.peer.family() == shoalFamily})
		}
		charts = append(charts, bars)
	}
	return chart.WriteSVG(w, 1, charts...)
}

func (m *measured) plotLatencies(w io.Writer) error {
	var charts []chart.Chart
	for _, l := range m.ladders {
		charts = append(charts, l.charts()...)
	}
	return chart.WriteSVG(w, 2, charts...)
}
