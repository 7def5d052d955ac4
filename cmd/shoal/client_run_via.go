package main

import (
	"io"
	"strings"

	"shoal/netio/rollout"
)

// runViaFlags are those of `shoal client run` that have its tasks really run.
type runViaFlags struct {
	Via string `help:"Run the tasks for real: by ssh on their hosts, or by exec on the gateway's machine, once for each. Output is then as that of 'shoal client exec'. Default: the subroutine gets them." enum:",ssh,exec" default:"" placeholder:"ssh|exec"`
	requestFlags
	rolloutFlags
	execOutputFlags
	embeddedFlags
}

// check refuses flags that mean nothing together.
func (f *runViaFlags) check(run *runCommand) error {
	if f.Via == "" {
		for _, one := range []struct {
			flag string
			set  bool
		}{
			{"--fanout", f.Fanout != nil}, {"--per-target", f.PerTarget != 0}, {"--rate", f.Rate != 0}, {"--delay", f.Delay != 0},
			{"--start-within", f.StartWithin != 0}, {"--canary", f.Canary != ""}, {"--halt", f.Halt != ""}, {"--dry-run", f.DryRun},
			{"--shell", f.Shell}, {"--env", len(f.Env) > 0}, {"--gather", f.Gather}, {"--live", f.Live}, {"--outdir", f.Outdir != ""},
			{"--errdir", f.Errdir != ""}, {"--max-status", f.MaxStatus},
		} {
			if one.set {
				return usage("%s goes with --via", one.flag)
			}
		}
		return nil
	}
	switch {
	case run.KeepOrder:
		return usage("--keep-order does not go with --via")
	case run.Table != "":
		return usage("--table does not go with --via: the tasks run for real")
	case f.Gather && run.JobLog != nil:
		return usage("--gather does not go with --job-log: an answer that is held back is not done")
	}
	return f.execOutputFlags.check(run.Output)
}

// runVia runs the tasks of the files on their hosts.
func (c *runCommand) runVia(p *process, client *clientCommand) error {
	template, err := c.template(c.Via, c.Timeout)
	if err != nil {
		return err
	}
	feed, err := openFeed(p, c.Files, c.inputFlags, hostCommand, c.jobLogFlags, c.Via)
	if err != nil {
		return err
	}
	defer feed.close()
	options := c.options()
	options.Timeout = 0 // the runner's own keeps what has come until then
	work := execWork{via: c.Via, log: feed.log, prior: feed.before, err: feed.failed, hosts: []string{"localhost"}, options: options, output: c.Output}
	if c.Failed != nil {
		work.failedFile = *c.Failed
	}
	if feed.input.all {
		work.total = feed.input.total - feed.expected()
	}
	work.tasks = func(yield func(rollout.Task) bool) {
		for key := range feed.items() {
			r := template
			var command string
			r.Target, command = hostCommand.split(key)
			if c.Via == "exec" && !c.Shell {
				r.Argv = strings.Fields(command)
			} else {
				r.Command = command
			}
			if !yield(requestTask(r)) {
				return
			}
		}
	}
	work.take = func(index int) execTask {
		t := feed.take(index)
		host, command := hostCommand.split(t.key)
		return execTask{t, host, command}
	}
	if c.DryRun {
		return c.dryRun(p.stdout, feed)
	}
	if work.config, err = c.config(uint64(work.total), c.Retries); err != nil {
		return err
	}
	return runExec(p, client, &c.execOutputFlags, c.Embedded, &c.embeddedFlags, &work)
}

// dryRun shows what would run where, a task a line.
func (c *runCommand) dryRun(w io.Writer, feed *taskFeed) error {
	var buf []byte
	for key := range feed.items() {
		host, command := hostCommand.split(key)
		buf = append(appendTextField(buf, host, false), ": "...)
		buf = append(appendTextField(buf, command, false), '\n')
		if len(buf) >= outputBuffer {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if _, err := w.Write(buf); err != nil {
		return err
	}
	return feed.failed()
}
