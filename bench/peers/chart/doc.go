// Package chart draws the figures of the comparisons as SVG: lines with points, and horizontal bars, several of them in
// a grid. It stands on gonum.org/v1/plot; what it adds is one look for all plots, ticks that can be read on logarithmic
// axes, a legend above the points instead of over them, and colours that the colour-blind can tell apart (each series
// also has a mark of its own).
//
// Text stays text: a reader can search for it and a file is small. The fonts named are those whose widths the layout was
// made with, and after them what other systems have in their place.
//
// The same charts give the same bytes.
package chart
