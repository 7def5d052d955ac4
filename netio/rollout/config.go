package rollout

import (
	"fmt"
	"math"
	"strings"
	"time"

	"shoal/netio/target"
)

const (
	// MaxHeld bounds the tasks that wait for a busy target.
	MaxHeld = 1024

	defaultBackoff    = time.Second
	defaultMaxBackoff = time.Minute
)

// Config says how a roll-out goes about it. Zero means without the limit in question.
type Config struct {
	Fanout    int // tasks under way at once
	PerTarget int // tasks under way at once on one target

	// Rate is how many tasks start in a second, on average; at most a tenth of a second's worth starts at once, and at
	// least one.
	Rate  float64
	Delay time.Duration // from one start to the next, at least

	// StartWithin ends tasks as not started that have not begun so long after their wave did.
	StartWithin time.Duration

	// Canary is the sizes of the first waves, in tasks or in parts of Total; what is left is the last wave. A wave begins
	// when all tasks of the one before are final.
	Canary []target.Share
	Pause  time.Duration // between two waves

	Halt Halt // when to stop after failures

	Retries    int           // how often a task that failed starts again
	Backoff    time.Duration // before the first retry; doubles with each, less a random part of up to a half; default 1 s
	MaxBackoff time.Duration // the longest; default 1 min

	Total uint64 // how many tasks there are; 0: not known
}

// Halt says after how many failures a roll-out stops. Its zero value never does.
type Halt struct {
	Now  bool         // cancel what is under way too, instead of waiting for it
	Fail target.Share // final failures that it takes: a number, or a part of all tasks
}

// ParseHalt reads never, soon,fail=N, soon,fail=N%, now,fail=N or now,fail=N%.
func ParseHalt(text string) (Halt, error) {
	if text == "never" || text == "" {
		return Halt{}, nil
	}
	when, rest, _ := strings.Cut(text, ",")
	count, ok := strings.CutPrefix(rest, "fail=")
	if !ok || when != "soon" && when != "now" {
		return Halt{}, fmt.Errorf("%q: write never, soon,fail=3, now,fail=3 or soon,fail=10%%", text)
	}
	fail, err := target.ParseShare(count)
	if err == nil && fail == (target.Share{}) {
		err = fmt.Errorf("%q: it takes at least one failure", text)
	}
	return Halt{Now: when == "now", Fail: fail}, err
}

// String returns what ParseHalt reads.
func (h Halt) String() string {
	if h.Fail == (target.Share{}) {
		return "never"
	}
	if h.Now {
		return "now,fail=" + h.Fail.String()
	}
	return "soon,fail=" + h.Fail.String()
}

// limit is how many final failures halt; math.MaxUint64 for never.
func (h Halt) limit(total uint64) uint64 {
	switch {
	case h.Fail.Percent > 0:
		return max(1, h.Fail.Of(total))
	case h.Fail.Count > 0:
		return h.Fail.Count
	}
	return math.MaxUint64
}

// ParseCanary reads the sizes of waves with commas between them, such as 1,5%,25%.
func ParseCanary(text string) ([]target.Share, error) {
	if text == "" {
		return nil, nil
	}
	var waves []target.Share
	for size := range strings.SplitSeq(text, ",") {
		share, err := target.ParseShare(strings.TrimSpace(size))
		if err != nil {
			return nil, err
		}
		if share == (target.Share{}) {
			return nil, fmt.Errorf("%q: a wave has at least one task", text)
		}
		waves = append(waves, share)
	}
	return waves, nil
}

// Check says what of a configuration makes no sense.
func (c *Config) Check() error {
	parts := c.Halt.Fail.Percent > 0
	for _, wave := range c.Canary {
		parts = parts || wave.Percent > 0
	}
	switch {
	case c.Fanout < 0 || c.PerTarget < 0 || c.Retries < 0:
		return fmt.Errorf("a negative number of tasks or retries")
	case c.Delay < 0 || c.Pause < 0 || c.StartWithin < 0 || c.Backoff < 0 || c.MaxBackoff < 0:
		return fmt.Errorf("a negative time")
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0) || c.Rate > 0 && c.Rate < 1e-6:
		return fmt.Errorf("a rate of %v tasks in a second", c.Rate)
	case parts && c.Total == 0:
		return fmt.Errorf("a part in %% of a number of tasks that is not known")
	}
	return nil
}

// withDefaults fills in what is zero and has a default.
func (c Config) withDefaults() Config {
	if c.Fanout == 0 {
		c.Fanout = math.MaxInt
	}
	if c.PerTarget == 0 {
		c.PerTarget = math.MaxInt
	}
	if c.Backoff == 0 {
		c.Backoff = defaultBackoff
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = max(defaultMaxBackoff, c.Backoff)
	}
	return c
}
