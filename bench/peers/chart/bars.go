package chart

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bar is one value with its name; Label is what is written at its end, the value in short if it is empty.
type Bar struct {
	Name     string
	Value    float64
	Label    string
	Emphasis bool
}

// Bars is a plot of horizontal bars that begin at zero, in the order in which they are given. X names what they are.
type Bars struct {
	Title, X string
	Values   []Bar
}

const (
	barHeight = 13
	barGap    = 4
	barText   = 6 // between a bar and its texts
)

func (b Bars) height(vg.Length) vg.Length {
	height := vg.Length(len(b.Values) * (barHeight + barGap))
	if b.Title != "" {
		height += titleHeight
	}
	if b.X != "" {
		height += legendHeight
	}
	return height
}

func (b Bars) draw(panel draw.Canvas) {
	panel = drawTitle(panel, b.Title)
	if b.X != "" {
		style := legendStyle
		style.Color = faintInk
		panel.FillText(style, vg.Point{X: panel.Min.X, Y: panel.Max.Y - legendHeight/2 + 2}, b.X)
		panel.Max.Y -= legendHeight
	}
	var names, labels vg.Length
	most := 0.0
	for _, v := range b.Values {
		names, labels = max(names, nameStyle.Width(v.Name)), max(labels, valueStyle.Width(v.label()))
		most = max(most, v.drawn())
	}
	zero := panel.Min.X + names + barText
	room := max(panel.Max.X-labels-barText-zero, 1)
	y := panel.Max.Y - barHeight/2
	for _, v := range b.Values {
		length := vg.Length(0)
		if most > 0 {
			length = room * vg.Length(v.drawn()/most)
		}
		panel.FillText(nameStyle, vg.Point{X: zero - barText, Y: y}, v.Name)
		panel.FillPolygon(v.color(), []vg.Point{
			{X: zero, Y: y - barHeight/2}, {X: zero + length, Y: y - barHeight/2},
			{X: zero + length, Y: y + barHeight/2}, {X: zero, Y: y + barHeight/2},
		})
		panel.FillText(valueStyle, vg.Point{X: zero + length + barText, Y: y}, v.label())
		y -= barHeight + barGap
	}
}

// drawn is the value as far as it can be drawn.
func (b Bar) drawn() float64 {
	if math.IsNaN(b.Value) || math.IsInf(b.Value, 0) {
		return 0
	}
	return max(b.Value, 0)
}

func (b Bar) label() string {
	if b.Label != "" {
		return b.Label
	}
	return tickLabel(b.Value)
}

func (b Bar) color() color.Color {
	if b.Emphasis {
		return emphasisColors[0]
	}
	return barColor
}
