package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"shoal/bench/peers/chart"
)

// printTable writes the points of a dimension as markdown.
func printTable(w io.Writer, d dimension, grown []growth) {
	fmt.Fprintf(w, "\n### %s\n\n", d.title)
	fmt.Fprintf(w, "| %s | | tasks/s | p99, µs | gateway, MiB | gateway, µs CPU/task | client, µs CPU/task | rounds, tasks/s |\n", d.axis)
	fmt.Fprintf(w, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |\n")
	for _, g := range grown {
		for _, p := range g.points {
			if p.err != nil {
				fmt.Fprintf(w, "| %s | %s | failed: %v | | | | | |\n", grouped(p.value), g.variant.name, p.err)
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %.2f | %.2f | %s–%s |\n", grouped(p.value), g.variant.name,
				short(p.rate), short(p.p99), p.memory, p.gatewayCPU, p.clientCPU, short(p.slowest), short(p.fastest))
		}
	}
}

// writePlot draws the three figures of a dimension side by side.
func writePlot(dir string, d dimension, grown []growth) error {
	figures := []struct {
		title string
		of    func(p point) float64
	}{
		{"tasks/s", func(p point) float64 { return p.rate }},
		{"p99, µs", func(p point) float64 { return p.p99 }},
		{"gateway's memory, MiB", func(p point) float64 { return p.memory }},
	}
	var charts []chart.Chart
	for i, figure := range figures {
		lines := chart.Lines{Title: figure.title, X: d.axis, LogX: true, LogY: i > 0 || d.ratesLog}
		for j, g := range grown {
			s := chart.Series{Name: g.variant.name, Emphasis: j == 0}
			for _, p := range g.points {
				if p.err == nil {
					s.Points = append(s.Points, chart.Point{X: float64(p.value), Y: figure.of(p)})
				}
			}
			lines.Series = append(lines.Series, s)
		}
		charts = append(charts, lines)
	}
	f, err := os.Create(filepath.Join(dir, "growth-"+d.name+".svg"))
	if err != nil {
		return err
	}
	if err := chart.WriteSVG(f, len(charts), charts...); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// short writes a figure with three digits: 2.71M, 394k, 12.5.
func short(v float64) string {
	unit := ""
	switch {
	case v >= 1e6:
		v, unit = v/1e6, "M"
	case v >= 1e4:
		v, unit = v/1e3, "k"
	}
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f%s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.2f%s", v, unit)
}

// grouped writes 1048576 as 1,048,576.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
