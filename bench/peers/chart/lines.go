package chart

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is a place in a plot of lines, in the units of its axes.
type Point struct{ X, Y float64 }

// Series is a line through its points, in the order in which they are given. Emphasis draws it stronger and in shoal's
// own colour.
type Series struct {
	Name     string
	Points   []Point
	Emphasis bool
	Dashed   bool
}

// Lines is a plot of series over one pair of axes. X and Y name the axes. A logarithmic axis has no place for what is
// not above zero, and no axis one for what is not finite: such points are left out.
type Lines struct {
	Title, X, Y string
	LogX, LogY  bool
	Series      []Series
}

func (l Lines) height(width vg.Length) vg.Length {
	return titleHeight + vg.Length(len(l.legendRows(width)))*legendHeight + 40 + max(120, width*0.42)
}

func (l Lines) draw(panel draw.Canvas) {
	rows := l.legendRows(panel.Size().X)
	styles := looks(l.Series)
	panel = drawTitle(panel, l.Title)
	for _, row := range rows {
		l.drawLegendRow(panel, row, styles)
		panel.Max.Y -= legendHeight
	}
	p := plot.New()
	p.BackgroundColor = nil
	prepareAxis(&p.X, l.X, l.LogX)
	prepareAxis(&p.Y, l.Y, l.LogY)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, gridColor
	p.Add(grid)
	// What is emphasised is drawn last, over the others.
	for _, emphasis := range []bool{false, true} {
		for i, s := range l.Series {
			if s.Emphasis == emphasis {
				addSeries(p, l.drawable(s.Points), styles[i])
			}
		}
	}
	roundRange(&p.X, l.LogX, false)
	roundRange(&p.Y, l.LogY, true)
	p.Draw(panel)
}

// drawable returns the points that have a place on the axes.
func (l Lines) drawable(points []Point) plotter.XYs {
	var xys plotter.XYs
	for _, p := range points {
		if hasPlace(p.X, l.LogX) && hasPlace(p.Y, l.LogY) {
			xys = append(xys, plotter.XY(p))
		}
	}
	return xys
}

func hasPlace(v float64, logarithmic bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || !logarithmic)
}

func addSeries(p *plot.Plot, xys plotter.XYs, l look) {
	if len(xys) == 0 {
		return
	}
	p.Add(&plotter.Line{XYs: xys, LineStyle: l.line},
		&plotter.Scatter{XYs: xys, GlyphStyle: l.mark})
}

func prepareAxis(a *plot.Axis, label string, logarithmic bool) {
	a.Label.Text, a.Label.Padding = label, 3
	a.Label.TextStyle = restyled(a.Label.TextStyle, textStyle(9, faintInk, 0, 0))
	a.Tick.Label = restyled(a.Tick.Label, textStyle(8.5, faintInk, 0, 0))
	a.Tick.Length, a.Tick.Color, a.Color = 3, faintInk, faintInk
	a.Padding = 0
	a.Tick.Marker = ticks{logarithmic}
	if logarithmic {
		a.Scale = plot.LogScale{}
	}
}

// restyled keeps the alignment, which is the axis's.
func restyled(axis, s text.Style) text.Style {
	s.XAlign, s.YAlign, s.Rotation = axis.XAlign, axis.YAlign, axis.Rotation
	return s
}

// legendRows breaks the names into rows, by their numbers. A single series needs none.
func (l Lines) legendRows(width vg.Length) [][]int {
	if len(l.Series) < 2 {
		return nil
	}
	var rows [][]int
	left := vg.Length(-1)
	for i, s := range l.Series {
		if needed := legendEntryWidth(s.Name); needed > left {
			rows, left = append(rows, nil), width
		}
		left -= legendEntryWidth(s.Name)
		rows[len(rows)-1] = append(rows[len(rows)-1], i)
	}
	return rows
}

func legendEntryWidth(name string) vg.Length {
	return legendSample + 4 + legendStyle.Width(name) + legendSpacing
}

func (l Lines) drawLegendRow(panel draw.Canvas, row []int, styles []look) {
	x, y := panel.Min.X, panel.Max.Y-legendHeight/2
	for _, i := range row {
		panel.StrokeLine2(styles[i].line, x, y, x+legendSample, y)
		panel.DrawGlyph(styles[i].mark, vg.Point{X: x + legendSample/2, Y: y})
		panel.FillText(legendStyle, vg.Point{X: x + legendSample + 4, Y: y}, l.Series[i].Name)
		x += legendEntryWidth(l.Series[i].Name)
	}
}
