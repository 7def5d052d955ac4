package main

import (
	"context"
	"errors"
	"iter"
	"os"
	"time"

	"shoal/netio"
)

// runCommand is `shoal client run`.
type runCommand struct {
	File        string        `arg:"" help:"File of tasks, host:command a line; - for standard input." placeholder:"FILE"`
	Batch       int           `help:"Tasks to a frame." default:"16"`
	Timeout     time.Duration `help:"For each task, from when it is sent; 0: none." default:"0s"`
	Output      string        `help:"How results look: ${enum}." enum:"text,jsonl,csv" default:"text"`
	KeepOrder   bool          `help:"Print results in the order of the file, not as they finish."`
	SkipInvalid bool          `help:"Skip malformed lines, and count them, instead of refusing the file."`
	Subroutine  string        `help:"The subroutine that gets the tasks." default:"table"`

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

A colon inside a field is written \: and a backslash before one \\. Blank lines and lines that begin with # are skipped.
Text output is task, status and response with tabs between. Exit status: 0 all ok, 3 some failed, 4 some timed out or
were lost, 5 no gateway reached, 130 interrupted.`
}

// Run sends the tasks and prints what comes.
func (c *runCommand) Run(p *process, client *clientCommand) error {
	if err := c.check(client); err != nil {
		return err
	}
	commands, skipped, err := c.read()
	if err != nil {
		return err
	}
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
	s, err := client.dial(ctx, p, url, netio.SwarmConfig{})
	if err != nil {
		if ctx.Err() != nil {
			return &exitError{status: exitInterrupted}
		}
		return err
	}
	defer s.Close()
	defer closeAfter(ctx, s)()

	items := func(yield func([]byte) bool) {
		for i := range commands {
			if !yield(commands[i].Key) {
				return
			}
		}
	}
	report := newReport(p, c.Output, len(commands), client.Quiet)
	report.summary.skipped = skipped
	err = report.results(s.MapWith(ctx, c.Subroutine, items, netio.MapOptions{
		Batch: c.Batch, Ordered: c.KeepOrder, Timeout: c.Timeout,
	}), func(i int) string { return commands[i].Text })
	return report.end(ctx, err)
}

func (c *runCommand) check(client *clientCommand) error {
	switch {
	case c.Batch < 1:
		return usage("--batch %d: it has to be at least 1", c.Batch)
	case c.Timeout < 0:
		return usage("--timeout %v: it cannot be negative", c.Timeout)
	case c.Workers < 1:
		return usage("--workers %d: it has to be at least 1", c.Workers)
	case c.Embedded && c.Table == "":
		return usage("--embedded needs --table FILE: the gateway inside this process has to know the tasks")
	case !c.Embedded && c.Table != "":
		return usage("--table goes with --embedded; give it to 'shoal server' otherwise")
	}
	return client.check()
}

func (c *runCommand) read() ([]command, int, error) {
	f, err := openInput(c.File)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	return parseCommands(f.Name(), f, c.SkipInvalid)
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

// patience is how long an interrupted client waits for the gateway to confirm what it cancelled.
const patience = 3 * time.Second

// closeAfter closes the swarm some time after ctx has ended, so that a gateway which does not answer holds nobody up.
func closeAfter(ctx context.Context, s *netio.Swarm) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(patience):
			_ = s.Close()
		}
	}()
	return func() { close(done) }
}

// report is what a person or a program sees of many results: lines on standard output, progress and counts on
// standard error.
type report struct {
	p        *process
	out      *resultWriter
	progress *progress
	summary  summary
	quiet    bool
	started  time.Time
}

func newReport(p *process, format string, total int, quiet bool) *report {
	pr := newProgress(p.stderr, progressOptions{Label: "tasks", Total: int64(total), Quiet: quiet})
	return &report{p: p, out: newResultWriter(pr.beside(p.stdout), format), progress: pr, quiet: quiet, started: time.Now()}
}

// results prints each result; task gives the text of an item. A write that fails ends it.
func (r *report) results(results iter.Seq2[netio.Result, error], task func(index int) string) error {
	var failed int64
	var done int64
	for result, err := range results {
		rec := record{Task: task(result.Index), ID: result.Index, Status: netio.StatusOf(err).String(),
			Response: result.Body, Elapsed: result.Elapsed}
		if err != nil {
			rec.Error = errorText(err)
			failed++
		}
		done++
		r.summary.add(&rec)
		if err := r.out.Write(&rec); err != nil {
			return err
		}
		if !result.More {
			if err := r.out.Flush(); err != nil {
				return err
			}
		}
		r.progress.set(done, failed)
	}
	return r.out.Flush()
}

// errorText returns what the subroutine or shoal said, without what the status says already.
func errorText(err error) string {
	var te *netio.TaskError
	if errors.As(err, &te) {
		if te.Text != "" {
			return te.Text
		}
		return te.Status.String()
	}
	return err.Error()
}

// end prints the counts and returns the command's outcome.
func (r *report) end(ctx context.Context, err error) error {
	r.summary.elapsed = time.Since(r.started)
	r.progress.close()
	if !r.quiet {
		_ = r.summary.write(r.p.stderr)
	}
	switch {
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case err != nil:
		return err
	case r.summary.exitCode() != exitOK:
		return &exitError{status: r.summary.exitCode()}
	}
	return nil
}
