package main

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// decodeDuration reads the durations of flags: Go's, such as 500ms or 1m30s, and plain numbers, which are seconds, as those of
// pssh, clush and timeout are.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := parseDuration(text)
	if err != nil {
		return err
	}
	target.SetInt(int64(d))
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	unit := time.Second
	number := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		unit, number = 24*time.Hour, days
	}
	value, err := strconv.ParseFloat(number, 64)
	if value *= float64(unit); err != nil || math.IsNaN(value) || math.Abs(value) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is no duration: write seconds, such as 5 or 1.5, or 500ms, 2m, 1h30m, 1d", text)
	}
	return time.Duration(math.Round(value)), nil
}
