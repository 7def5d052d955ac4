package target

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Share is a number of targets, or a part of them in per cent.
type Share struct {
	Count   uint64
	Percent float64 // above 0: in place of Count
}

// ParseShare reads a number such as 25, or a part such as 5% or 0.1%.
func ParseShare(text string) (Share, error) {
	if part, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(part, 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return Share{}, fmt.Errorf("%q: a part is above 0%% and at most 100%%", text)
		}
		return Share{Percent: percent}, nil
	}
	count, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return Share{}, fmt.Errorf("%q: write a number such as 25, or a part such as 10%%", text)
	}
	return Share{Count: count}, nil
}

// Of returns how many of total the share is, parts rounded up: at most total.
func (s Share) Of(total uint64) uint64 {
	if s.Percent <= 0 {
		return min(s.Count, total)
	}
	if s.Percent >= 100 {
		return total
	}
	const rounding = 1e-12 // of the multiplication: it shall not make one more of a whole number
	return uint64(math.Ceil(float64(total) * s.Percent / 100 * (1 - rounding)))
}

// String returns what ParseShare reads.
func (s Share) String() string {
	if s.Percent > 0 {
		return strconv.FormatFloat(s.Percent, 'g', -1, 64) + "%"
	}
	return strconv.FormatUint(s.Count, 10)
}
