package main

import (
	"shoal/netio"
	"shoal/netio/table"
)

// runCommand is `shoal client run`.
type runCommand struct {
	Files []string `arg:"" name:"file" help:"Files of tasks, host:command a line; - for standard input."`
	Batch *int     `help:"Tasks to a frame. Default: 16; from a pipe 1, which sends each task as it comes." placeholder:"N"`
	mapFlags
	runViaFlags
	Subroutine string `help:"The subroutine that gets the tasks." default:"table"`

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
  shoal client run commands.txt --failed again.txt; shoal client run again.txt
  shoal client run commands.txt --via ssh --fanout 20

A colon inside a field is written \: and a backslash before one \\. A host is the same however its letters are cased, and
however an IPv6 address is spelled. ` + inputHelp + `

Text output is task, status and response with tabs between. ` + jobLogHelp + `
With --wait, tasks that a draining gateway refuses are sent to its successor.

` + exitStatuses
}

// Run sends the tasks and prints what comes.
func (c *runCommand) Run(p *process, client *clientCommand) error {
	if err := c.check(client); err != nil {
		return err
	}
	if c.Via != "" {
		return c.runVia(p, client)
	}
	r, err := c.open(p, client, c.Files, hostCommand, c.Subroutine)
	if err != nil {
		return err
	}
	defer r.close()
	url := client.url()
	if c.Embedded {
		gw, err := c.embed(client, p)
		if err != nil {
			return err
		}
		defer gw.Close()
		url = gw.URLs()[0]
	}
	s, err := client.dial(p.ctx, p, url, r.swarmConfig())
	if err != nil {
		return err
	}
	defer s.Close()
	most := 1
	if r.feed.input.all {
		most = 16
	}
	return r.run(p.ctx, s, c.Subroutine, c.options(), c.Batch, most)
}

func (c *runCommand) check(client *clientCommand) error {
	switch {
	case c.Workers < 1:
		return usage("--workers %d: it has to be at least 1", c.Workers)
	case c.Embedded && c.Table == "" && c.Via == "":
		return usage("--embedded needs --table FILE: the gateway inside this process has to know the tasks")
	case !c.Embedded && c.Table != "":
		return usage("--table goes with --embedded; give it to 'shoal server' otherwise")
	}
	if err := c.mapFlags.check(c.Batch); err != nil {
		return err
	}
	if err := c.runViaFlags.check(c); err != nil {
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
	registerTable(gw, table.New(entries))
	return gw, gw.Start()
}

// mapCommand is `shoal client map`.
type mapCommand struct {
	Name  string   `arg:"" help:"The subroutine."`
	Files []string `arg:"" optional:"" name:"file" help:"Files of tasks, one a line; default: -, standard input."`
	Batch *int     `help:"Tasks to a frame. Default: 1, which sends each task as it comes." placeholder:"N"`
	mapFlags
}

// Help is what --help adds.
func (c *mapCommand) Help() string {
	return `Examples:
  seq 100 | shoal client map square --keep-order
  shoal client --wait 30s map table --batch 16 --timeout 5s --retries 3 --on-restart retry testdata/commands.txt
  find . -type f -print0 | shoal client map echo -0

Each line is a task. ` + inputHelp + `

` + jobLogHelp + `

` + exitStatuses
}

// Run maps the subroutine over the lines.
func (c *mapCommand) Run(p *process, client *clientCommand) error {
	if err := c.mapFlags.check(c.Batch); err != nil {
		return err
	}
	if err := client.check(); err != nil {
		return err
	}
	files := c.Files
	if len(files) == 0 {
		files = []string{"-"}
	}
	r, err := c.open(p, client, files, anyLine, c.Name)
	if err != nil {
		return err
	}
	defer r.close()
	s, err := client.dial(p.ctx, p, client.url(), r.swarmConfig())
	if err != nil {
		return err
	}
	defer s.Close()
	return r.run(p.ctx, s, c.Name, c.options(), c.Batch, 1)
}
