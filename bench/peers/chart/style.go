package chart

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const fontFamily = "Liberation Sans"

var (
	white     = color.RGBA{0xff, 0xff, 0xff, 0xff}
	ink       = color.RGBA{0x22, 0x22, 0x22, 0xff}
	faintInk  = color.RGBA{0x55, 0x55, 0x55, 0xff}
	gridColor = color.RGBA{0xe4, 0xe7, 0xea, 0xff}
	barColor  = color.RGBA{0xa9, 0xb3, 0xbd, 0xff}

	// emphasisColors are shoal's own; a second emphasised series gets the darker one.
	emphasisColors = []color.RGBA{{0x00, 0x72, 0xb2, 0xff}, {0x00, 0x3f, 0x66, 0xff}}
	// seriesColors are those of Okabe and Ito without the blue, which is shoal's.
	seriesColors = []color.RGBA{
		{0xe6, 0x9f, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff}, {0xd5, 0x5e, 0x00, 0xff},
		{0x56, 0xb4, 0xe9, 0xff}, {0x66, 0x66, 0x66, 0xff}, {0xb8, 0xa8, 0x00, 0xff},
	}
	emphasisMarks = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}}
	seriesMarks   = []draw.GlyphDrawer{
		draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{},
		draw.PlusGlyph{},
	}
)

// look is how one series is drawn, in the plot and in the legend.
type look struct {
	line draw.LineStyle
	mark draw.GlyphStyle
}

// looks gives each series its look, in the order in which they are given: the same order, the same colours.
func looks(series []Series) []look {
	styles := make([]look, len(series))
	emphasised, others := 0, 0
	for i, s := range series {
		l := &styles[i]
		if s.Emphasis {
			l.line.Color, l.line.Width = emphasisColors[emphasised%len(emphasisColors)], 2
			l.mark.Shape, l.mark.Radius = emphasisMarks[emphasised%len(emphasisMarks)], 2.8
			emphasised++
		} else {
			l.line.Color, l.line.Width = seriesColors[others%len(seriesColors)], 1.1
			l.mark.Shape, l.mark.Radius = seriesMarks[others%len(seriesMarks)], 2.3
			others++
		}
		l.mark.Color = l.line.Color
		if s.Dashed {
			l.line.Dashes = []vg.Length{4, 2.5}
		}
	}
	return styles
}

func textStyle(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color:   c,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  x,
		YAlign:  y,
		Handler: plot.DefaultTextHandler,
	}
}

var (
	titleStyle  = boldStyle()
	legendStyle = textStyle(8.5, ink, draw.XLeft, draw.YCenter)
	nameStyle   = textStyle(9, ink, draw.XRight, draw.YCenter)
	valueStyle  = textStyle(9, ink, draw.XLeft, draw.YCenter)
)

func boldStyle() text.Style {
	s := textStyle(10.5, ink, draw.XLeft, draw.YTop)
	s.Font.Weight = 2 // Liberation's bold
	return s
}

// drawTitle writes a panel's title into its left upper corner and returns what is left of the panel.
func drawTitle(panel draw.Canvas, title string) draw.Canvas {
	if title == "" {
		return panel
	}
	panel.FillText(titleStyle, vg.Point{X: panel.Min.X, Y: panel.Max.Y}, title)
	panel.Max.Y -= titleHeight
	return panel
}
