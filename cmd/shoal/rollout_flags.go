package main

import (
	"time"

	"shoal/netio/rollout"
)

// rolloutFlags say when the tasks of a command start.
type rolloutFlags struct {
	Fanout      *int          `short:"f" help:"Tasks under way at once; 0: as many as there are. Default: 64." placeholder:"N"`
	PerTarget   int           `help:"Tasks under way at once on one target; 0: no limit." default:"0" placeholder:"N"`
	Rate        float64       `help:"Tasks started in a second, on average; 0: no limit." default:"0" placeholder:"N"`
	Delay       time.Duration `help:"Time from the start of one task to that of the next, at least." default:"0s"`
	StartWithin time.Duration `help:"Tasks that have not started so long after their wave began are not started any more; 0s: they wait." default:"0s"`
	Canary      string        `help:"Sizes of waves that go before the rest, such as 1,5%,25%: the next begins when one is over." placeholder:"N|N%,…"`
	Pause       time.Duration `help:"With --canary: time between two waves." default:"0s"`
	Halt        string        `help:"Stop after so many failures: soon,fail=3, soon,fail=10%, now,fail=1 (now cancels what is under way too) or never. Default: never; with --canary soon,fail=1." placeholder:"WHEN"`
	Backoff     time.Duration `help:"With --retries: the pause before the first; it doubles with each." default:"1s"`
	DryRun      bool          `short:"n" help:"Show what would run where, and do nothing."`
}

// defaultFanout is how many commands run at once where nothing else is said.
const defaultFanout = 64

// config makes the configuration of a roll-out of so many tasks.
func (f *rolloutFlags) config(total uint64, retries int) (rollout.Config, error) {
	c := rollout.Config{
		Fanout: orElse(f.Fanout, defaultFanout), PerTarget: f.PerTarget, Rate: f.Rate, Delay: f.Delay, StartWithin: f.StartWithin, Pause: f.Pause,
		Retries: retries, Backoff: f.Backoff, Total: total,
	}
	var err error
	if c.Canary, err = rollout.ParseCanary(f.Canary); err != nil {
		return c, usage("--canary %w", err)
	}
	halt := f.Halt
	if halt == "" && len(c.Canary) > 0 {
		halt = "soon,fail=1"
	}
	if c.Halt, err = rollout.ParseHalt(halt); err != nil {
		return c, usage("--halt %w", err)
	}
	if f.Pause > 0 && len(c.Canary) == 0 {
		return c, usage("--pause goes with --canary: it is the time between two waves")
	}
	if err := c.Check(); err != nil {
		return c, usage("%w: check --fanout, --per-target, --rate, --delay, --canary, --halt and --retries", err)
	}
	return c, nil
}
