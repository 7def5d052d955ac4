package main

import (
	"time"

	"shoal/netio"
)

// mapFlags are the flags of the commands that send many tasks: run, map, and those that are built on them.
type mapFlags struct {
	inputFlags
	Timeout   time.Duration `help:"How long each task may take from when it is sent, such as 5s or 5; 0s: as long as it takes." default:"0s"`
	InFlight  int           `help:"Tasks sent and not answered, at most. Default: what the gateway's workers can use." placeholder:"N"`
	Output    string        `help:"How results look: ${enum}. In csv-safe no field is a formula to a spreadsheet." enum:"text,jsonl,csv,csv-safe" default:"text"`
	KeepOrder bool          `help:"Print results in the order of the tasks, not as they finish."`

	OnRestart   string `help:"Tasks whose outcome is unknown because the gateway was lost: ${enum}. Retried ones run at least once; reported ones end as lost." enum:"report,retry" default:"report"`
	Retries     int    `help:"How often a task is sent again that timed out, was refused as busy or draining, reached no gateway, or was lost with --on-restart retry." default:"0"`
	RetryFailed bool   `help:"With --retries: also tasks that failed."`

	jobLogFlags
	Failed *string `help:"Write the tasks that did not end with ok to this file, as they were given: it can be run again." placeholder:"FILE"`
}

// exitStatuses is what --help says of the exit status of these commands.
const exitStatuses = `Exit status: 0 all ok, 1 results or the job log could not be written, 2 bad input, 3 some failed, 4 some timed out or were
lost, 5 no gateway reached, 130 interrupted (143 by SIGTERM). 0 too where whoever reads the results, such as head, had enough.`

// orElse is what a flag says, or a default.
func orElse(flag *int, otherwise int) int {
	if flag != nil {
		return *flag
	}
	return otherwise
}

func (f *mapFlags) check(batch *int) error {
	switch {
	case orElse(batch, 1) < 1:
		return usage("--batch %d: it has to be at least 1", *batch)
	case f.InFlight < 0:
		return usage("--in-flight %d: it has to be at least 1", f.InFlight)
	case f.Retries < 0:
		return usage("--retries %d: it cannot be negative", f.Retries)
	case f.RetryFailed && f.Retries == 0:
		return usage("--retry-failed goes with --retries N")
	case f.Failed != nil && (*f.Failed == "" || *f.Failed == "-"):
		return usage("--failed %q: give the name of a file", *f.Failed)
	}
	if err := f.jobLogFlags.check(); err != nil {
		return err
	}
	return checkTimeout(f.Timeout)
}

func (f *mapFlags) options() netio.MapOptions {
	o := netio.MapOptions{Ordered: f.KeepOrder, Timeout: f.Timeout, InFlight: f.InFlight,
		OnRestart: netio.RestartReport, Retries: f.Retries, RetryFailed: f.RetryFailed}
	if f.OnRestart == "retry" {
		o.OnRestart = netio.RestartRetry
	}
	return o
}

// open makes the report of a command that sends tasks, with all that it needs but a gateway: whatever is wrong with the
// input, the job log or standard output shows before anything is sent. The caller closes it.
func (f *mapFlags) open(p *process, client *clientCommand, files []string, format taskFormat, subroutine string) (*report, error) {
	if err := p.stdout.usable(); err != nil {
		return nil, err
	}
	feed, err := openFeed(p, files, f.inputFlags, format, f.jobLogFlags, subroutine)
	if err != nil {
		return nil, err
	}
	failed, err := openFailedTasks(p, f.Failed, f.Null)
	if err != nil {
		feed.close()
		return nil, err
	}
	return newReport(p, client, f.Output, feed, failed), nil
}
