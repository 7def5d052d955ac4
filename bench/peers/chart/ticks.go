package chart

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks labels an axis at round values: powers of ten on a logarithmic one, with 2 and 5 between where there are few.
type ticks struct{ logarithmic bool }

func (t ticks) Ticks(least, most float64) []plot.Tick {
	if t.logarithmic {
		return logTicks(least, most)
	}
	step := roundStep(most - least)
	var marks []plot.Tick
	for i := math.Ceil(least/step - 1e-6); i*step <= most+step*1e-6; i++ {
		marks = append(marks, plot.Tick{Value: i * step, Label: tickLabel(i * step)})
	}
	return marks
}

// fewDecades is up to how many of them 2 and 5 are labelled too, manyDecades from how many on not every power of ten.
const (
	fewDecades  = 2.2
	manyDecades = 6
)

func logTicks(least, most float64) []plot.Tick {
	decades := math.Log10(most / least)
	every := 1
	if decades >= manyDecades {
		every = 2
	}
	var marks []plot.Tick
	for e := int(math.Floor(math.Log10(least) + 1e-9)); e <= int(math.Ceil(math.Log10(most)-1e-9)); e++ {
		for digit := 1.0; digit < 10; digit++ {
			v := digit * math.Pow10(e)
			if v < least*(1-1e-9) || v > most*(1+1e-9) {
				continue
			}
			mark := plot.Tick{Value: v}
			if digit == 1 && e%every == 0 || decades < fewDecades && (digit == 2 || digit == 5) {
				mark.Label = tickLabel(v)
			}
			marks = append(marks, mark)
		}
	}
	return marks
}

// roundStep returns a step of 1, 2 or 5 times a power of ten that makes four to seven of the span.
func roundStep(span float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, digit := range []float64{5, 2} {
		if span/(power*digit) >= 4 {
			return power * digit
		}
	}
	return power
}

// roundRange widens an axis to round values: a linear one begins at zero if it may and ends at a tick, a logarithmic one
// begins and ends at 1, 2 or 5 times a power of ten if it is to be rounded.
func roundRange(a *plot.Axis, logarithmic, rounded bool) {
	switch {
	case a.Min > a.Max: // no points
		a.Min, a.Max = 1, 10
	case logarithmic && (rounded || a.Min == a.Max):
		a.Min, a.Max = roundBelow(a.Min), roundAbove(a.Max)
	case !logarithmic:
		a.Min = min(a.Min, 0)
		if a.Max == a.Min {
			a.Max = a.Min + 1
		}
		step := roundStep(a.Max - a.Min)
		a.Min, a.Max = math.Floor(a.Min/step+1e-9)*step, math.Ceil(a.Max/step-1e-9)*step
	}
}

// roundBelow returns the largest 1, 2 or 5 times a power of ten that is less than v.
func roundBelow(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{5, 2, 1} {
		if power*digit < v*(1-1e-9) {
			return power * digit
		}
	}
	return power / 2
}

func roundAbove(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 2, 5} {
		if power*digit > v*(1+1e-9) {
			return power * digit
		}
	}
	return power * 10
}

// tickLabel writes 1500 as 1.5k, 2e6 as 2M.
func tickLabel(v float64) string {
	if v == 0 {
		return "0"
	}
	for _, prefix := range []struct {
		value float64
		name  string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= prefix.value*(1-1e-9) {
			return shortest(v/prefix.value) + prefix.name
		}
	}
	return shortest(v)
}

// shortest writes at most six digits, without the noise of a product of floats.
func shortest(v float64) string {
	return strconv.FormatFloat(v, 'g', 6, 64)
}
