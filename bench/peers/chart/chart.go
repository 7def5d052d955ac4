package chart

import (
	"bytes"
	"errors"
	"io"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is what WriteSVG draws: Lines and Bars are.
type Chart interface {
	// height is what a panel of that width should have at least.
	height(width vg.Length) vg.Length
	draw(panel draw.Canvas)
}

// Lengths of a drawing, in points. The more columns, the narrower a panel, so that the whole still fits a page.
const (
	pageWidth     = 760
	widestPanel   = 520
	panelGap      = 18
	panelMargin   = 12
	titleHeight   = 20
	legendHeight  = 14 // of a row of it
	legendSample  = 20
	legendSpacing = 12
)

var errNoCharts = errors.New("chart: nothing to draw")

// WriteSVG draws the charts row by row into a grid of so many columns, on white.
func WriteSVG(w io.Writer, columns int, charts ...Chart) error {
	if len(charts) == 0 {
		return errNoCharts
	}
	columns = min(max(columns, 1), len(charts))
	width := min(vg.Length(widestPanel), (pageWidth-2*panelMargin-vg.Length(columns-1)*panelGap)/vg.Length(columns))
	heights := rowHeights(charts, columns, width)
	total := vg.Length(2*panelMargin + (len(heights)-1)*panelGap)
	for _, h := range heights {
		total += h
	}
	svg := vgsvg.New(vg.Length(columns)*(width+panelGap)-panelGap+2*panelMargin, total)
	page := draw.New(svg)
	page.SetColor(white)
	page.Fill(page.Rectangle.Path())
	top := page.Max.Y - panelMargin
	for row, height := range heights {
		for column, c := range charts[row*columns : min((row+1)*columns, len(charts))] {
			left := panelMargin + vg.Length(column)*(width+panelGap)
			c.draw(draw.Canvas{Canvas: page, Rectangle: vg.Rectangle{
				Min: vg.Point{X: left, Y: top - height},
				Max: vg.Point{X: left + width, Y: top},
			}})
		}
		top -= height + panelGap
	}
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return err
	}
	_, err := w.Write(nameSimilarFonts(b.Bytes()))
	return err
}

func rowHeights(charts []Chart, columns int, width vg.Length) []vg.Length {
	heights := make([]vg.Length, (len(charts)+columns-1)/columns)
	for i, c := range charts {
		heights[i/columns] = max(heights[i/columns], c.height(width))
	}
	return heights
}

// nameSimilarFonts adds fonts of the same widths to the one that the layout was made with: where that is missing, a
// browser would take one with serifs.
func nameSimilarFonts(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:"+fontFamily), []byte("font-family:'"+fontFamily+"',Arial,Helvetica,'DejaVu Sans Condensed',sans-serif"))
}
