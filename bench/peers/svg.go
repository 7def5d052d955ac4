package main

import (
	"fmt"
	"html"
	"io"
)

// Sizes of the plot in pixels: a panel for each load, each with a scale of its own, and in it a bar for each peer.
const (
	svgWidth   = 720
	svgLabels  = 110 // for the names, left of the bars
	svgNumbers = 70  // for the figures, right of them
	svgBar     = 16
	svgGap     = 4
	svgTitle   = 40
)

// writeSVG plots tasks/s.
func writeSVG(w io.Writer, outcomes []outcome) error {
	height := 10
	for _, o := range outcomes {
		height += svgTitle + len(o.results)*(svgBar+svgGap)
	}
	p := svgPrinter{w: w}
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="12">`, svgWidth, height)
	p.printf(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	y := 0
	for _, o := range outcomes {
		p.printf(`<text x="10" y="%d" font-weight="bold">%s, tasks/s</text>`, y+svgTitle-12, html.EscapeString(o.load.Title))
		y += svgTitle
		most := 1.0
		for _, r := range o.results {
			most = max(most, r.rate())
		}
		for _, r := range o.results {
			colour := "#9aa5b1"
			switch r.peer.family() {
			case shoalFamily:
				colour = "#0b7285"
			case "floor":
				colour = "#ced4da"
			}
			length := r.rate() / most * (svgWidth - svgLabels - svgNumbers)
			p.printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`, svgLabels-6, y+svgBar-4, html.EscapeString(r.peer.name))
			p.printf(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, svgLabels, y, length, svgBar, colour)
			p.printf(`<text x="%.1f" y="%d">%s</text>`, svgLabels+length+6, y+svgBar-4, count(r.rate()))
			y += svgBar + svgGap
		}
	}
	p.printf(`</svg>`)
	return p.err
}

// svgPrinter writes lines and keeps the first error.
type svgPrinter struct {
	w   io.Writer
	err error
}

func (p *svgPrinter) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
