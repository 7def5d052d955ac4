package main

import (
	"time"

	"shoal/netio"
)

// mapFlags are the flags of the commands that send many tasks: run and map.
type mapFlags struct {
	Timeout   time.Duration `help:"How long each task may take from when it is sent, such as 5s; 0s: as long as it takes." default:"0s"`
	Output    string        `help:"How results look: ${enum}." enum:"text,jsonl,csv" default:"text"`
	KeepOrder bool          `help:"Print results in the order of the tasks, not as they finish."`

	OnRestart   string `help:"Tasks whose outcome is unknown because the gateway was lost: ${enum}. Retried ones run at least once; reported ones end as lost." enum:"report,retry" default:"report"`
	Retries     int    `help:"How often a task is sent again that timed out, was refused as busy or draining, reached no gateway, or was lost with --on-restart retry." default:"0"`
	RetryFailed bool   `help:"With --retries: also tasks that failed."`
}

// exitStatuses is what --help says of the exit status of these commands.
const exitStatuses = `Exit status: 0 all ok, 1 results or the job log could not be written, 3 some failed, 4 some timed out or were lost,
5 no gateway reached, 130 interrupted.`

func (f *mapFlags) check(batch int) error {
	switch {
	case batch < 1:
		return usage("--batch %d: it has to be at least 1", batch)
	case f.Retries < 0:
		return usage("--retries %d: it cannot be negative", f.Retries)
	case f.RetryFailed && f.Retries == 0:
		return usage("--retry-failed goes with --retries N")
	}
	return checkTimeout(f.Timeout)
}

func (f *mapFlags) options(batch int) netio.MapOptions {
	o := netio.MapOptions{Batch: batch, Ordered: f.KeepOrder, Timeout: f.Timeout,
		OnRestart: netio.RestartReport, Retries: f.Retries, RetryFailed: f.RetryFailed}
	if f.OnRestart == "retry" {
		o.OnRestart = netio.RestartRetry
	}
	return o
}
