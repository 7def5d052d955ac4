package main

import (
	"os"

	"shoal/netio"
)

// runCommand is `shoal client run`.
type runCommand struct {
	File  string `arg:"" help:"File of tasks, host:command a line; - for standard input." placeholder:"FILE"`
	Batch int    `help:"Tasks to a frame." default:"16"`
	mapFlags
	SkipInvalid bool   `help:"Skip malformed lines, and count them, instead of refusing the file."`
	Subroutine  string `help:"The subroutine that gets the tasks." default:"table"`

	JobLog       string `help:"Record in this file how each task ended, on the disk as it happens." placeholder:"FILE"`
	Resume       bool   `help:"With --job-log: skip what the file says is done."`
	ResumeFailed bool   `help:"As --resume, but run those again that did not end with ok."`

	Embedded        bool   `help:"Start a gateway inside this process instead of reaching one; needs --table."`
	Table           string `help:"With --embedded: its table." placeholder:"FILE"`
	AllowDuplicates bool   `help:"With --embedded: as for the server."`
	Workers         int    `help:"With --embedded: tasks that may run or wait at once." default:"1024"`
}

// Help is what --help adds.
func (c *runCommand) Help() string {
	return `Examples:
  shoal client run testdata/commands.txt --batch 16
  shoal client run --embedded --table testdata/table.txt testdata/commands.txt
  cut -f1 inventory | shoal client --wait 30s run - --output jsonl >results.jsonl
  shoal client run commands.txt --job-log run.log; shoal client run commands.txt --job-log run.log --resume

A colon inside a field is written \: and a backslash before one \\. Blank lines and lines that begin with # are skipped.
Text output is task, status and response with tabs between. A job log is a JSON object a line: task, n (which of
several equal tasks), subroutine, status; --resume skips what is in it, but for tasks that were refused or cancelled, and
the commands file may have been edited. With --wait, tasks that a draining gateway refuses are sent to its successor.

` + exitStatuses
}

// Run sends the tasks and prints what comes.
func (c *runCommand) Run(p *process, client *clientCommand) error {
	if err := c.check(client); err != nil {
		return err
	}
	commands, err := openCommands(c.File, c.SkipInvalid)
	if err != nil {
		return err
	}
	defer commands.close()
	ctx, stop := interrupts(p.ctx, func() { os.Exit(exitInterrupted) })
	defer stop()
	url := client.Gateway
	if c.Embedded {
		gw, err := c.embed(client, p)
		if err != nil {
			return err
		}
		defer gw.Close()
		url = gw.URLs()[0]
	}
	tasks := taskSource(commands)
	var logged *loggedTasks
	if c.JobLog != "" {
		log, err := openJobLog(c.JobLog, c.Subroutine, c.Resume || c.ResumeFailed, c.ResumeFailed)
		if err != nil {
			return err
		}
		defer log.close()
		logged = &loggedTasks{commandsFile: commands, log: log}
		tasks = logged
	}
	s, err := client.dial(ctx, p, url, netio.SwarmConfig{})
	if err != nil {
		return err
	}
	defer s.Close()
	r := newReport(p, c.Output, commands.total, client.Quiet)
	r.summary.skipped, r.log = commands.skipped, logged
	err = r.mapped(ctx, s, c.Subroutine, tasks, c.options(c.Batch))
	return r.end(ctx, err)
}

func (c *runCommand) check(client *clientCommand) error {
	switch {
	case (c.Resume || c.ResumeFailed) && c.JobLog == "":
		return usage("--resume and --resume-failed go with --job-log FILE")
	case c.Workers < 1:
		return usage("--workers %d: it has to be at least 1", c.Workers)
	case c.Embedded && c.Table == "":
		return usage("--embedded needs --table FILE: the gateway inside this process has to know the tasks")
	case !c.Embedded && c.Table != "":
		return usage("--table goes with --embedded; give it to 'shoal server' otherwise")
	}
	if err := c.mapFlags.check(c.Batch); err != nil {
		return err
	}
	return client.check()
}

// embed starts a gateway in this process, on a socket like any other.
func (c *runCommand) embed(client *clientCommand, p *process) (*netio.Gateway, error) {
	entries, err := readTable(c.Table, c.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	config := netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: c.Workers}
	if client.Verbose {
		config.Logger = newLogger(p.stderr, "info", "text")
	}
	gw := netio.NewGateway(config)
	registerTable(gw, netio.NewTable(entries))
	return gw, gw.Start()
}
