package main

import (
	"math"
	"strings"
	"time"
)

// execCommand is `shoal client exec`.
type execCommand struct {
	Words []string `arg:"" optional:"" name:"command" passthrough:"partial" help:"The command, after --. One word is a line for the device's shell; several are a program and its arguments."`
	targetFlags
	Via     string        `help:"What runs the command: ${enum}. ssh runs it on the target, exec on the gateway's machine, once for each target." enum:"ssh,exec" default:"ssh"`
	Timeout time.Duration `help:"How long a task may take from its start; 0s: the gateway's default." default:"0s"`
	requestFlags
	rolloutFlags
	Retries int    `help:"How often a task that failed starts again." default:"0" placeholder:"N"`
	Output  string `help:"How results look: ${enum}. text is a line 'host: line' for each line of output." enum:"text,jsonl,csv,csv-safe" default:"text"`
	execOutputFlags
	FailedFile string `help:"Write the targets that did not end well to this file: --hostfile takes it." placeholder:"FILE"`
	jobLogFlags
	Embedded bool `help:"Do without a gateway: run the commands from this process."`
	embeddedFlags
}

// execOutputFlags say what is shown of what came.
type execOutputFlags struct {
	Gather     bool          `short:"b" help:"Show equal answers once, below the names of their targets. A group is shown when no target has joined it for --gather-time."`
	GatherTime time.Duration `help:"With --gather: see there." default:"2s"`
	Live       bool          `help:"Show lines as the devices write them, not when their commands have ended."`
	Outdir     string        `help:"Write the standard output of each target to a file of its name in this folder too." placeholder:"DIR"`
	Errdir     string        `help:"The same for standard error." placeholder:"DIR"`
	MaxStatus  bool          `short:"S" name:"max-status" help:"End with the largest exit status of the commands; 255 counts for one that has none."`
}

func (f *execOutputFlags) check(output string) error {
	switch {
	case f.Gather && output != "text":
		return usage("--gather goes with --output text")
	case f.Live && (output != "text" || f.Gather):
		return usage("--live goes with --output text, and not with --gather")
	case f.GatherTime <= 0:
		return usage("--gather-time %v: it has to be above 0", f.GatherTime)
	}
	return nil
}

// Help is what --help adds.
func (c *execCommand) Help() string {
	return `Examples:
  shoal client exec -w 'web[01-40],db[1-3]' -x web07 -- uptime
  shoal client exec --embedded -w @rack1 -b -- 'uname -r'
  shoal client exec -w @web --canary 1,10% --pause 30s --failed-file again -- systemctl restart nginx
  shoal client exec --hostfile again -- systemctl restart nginx
  shoal client exec --via exec -w 'job[001-100]' --shell -- 'echo $SHOAL_TARGET'

` + targetsHelp + `

Text output is 'host: line' on standard output and standard error, as the command wrote it; control characters other than tabs
are written \xNN. With --live lines come as they are written, and those of an attempt that is tried again too. What did not end well is listed at the end on standard error, equal errors together. SIGUSR1 and an
interrupt show what is under way, and since when.

Exit status: 0 all ok, 1 results could not be written, 2 bad input, 3 some failed or did not start, 4 some timed out or were
lost, 5 no gateway reached, 130 interrupted (143 by SIGTERM). With -S: the largest exit status of the commands.`
}

// Run runs the command on the targets and prints what comes.
func (c *execCommand) Run(p *process, client *clientCommand) error {
	if err := c.check(client); err != nil {
		return err
	}
	template, err := c.template(c.Via, c.Timeout)
	if err != nil {
		return err
	}
	setCommand(&template, c.Via, c.words())
	set, err := c.set()
	if err != nil {
		return err
	}
	if set.Len() > math.MaxInt32 {
		return usage("%d targets: at most %d", set.Len(), math.MaxInt32)
	}
	if c.DryRun {
		config, err := c.config(set.Len(), c.Retries)
		if err != nil {
			return err
		}
		return writeDryRun(p.stdout, set, config, c.Via, template.CommandText())
	}
	feed := &targetFeed{set: set, template: template, command: template.CommandText(), underWay: map[int]task{}}
	if feed.log, err = c.jobLogFlags.open(p, c.Via); err != nil {
		return err
	}
	if feed.log != nil {
		defer feed.log.close()
	}
	work := execWork{via: c.Via, tasks: feed.tasks, take: feed.take, total: feed.count(), log: feed.log, prior: feed.before,
		output: c.Output, failedFile: c.FailedFile}
	if work.config, err = c.config(max(1, uint64(work.total)), c.Retries); err != nil {
		return err
	}
	for host := range set.All() {
		if work.hosts = append(work.hosts, host); len(work.hosts) == maxAsked {
			break
		}
	}
	return runExec(p, client, &c.execOutputFlags, c.Embedded, &c.embeddedFlags, &work)
}

func (c *execCommand) check(client *clientCommand) error {
	if len(c.words()) == 0 || strings.TrimSpace(strings.Join(c.words(), "")) == "" {
		return usage("no command: give it after --, as in 'shoal client exec -w web1 -- uptime'")
	}
	if word := c.words()[0]; c.Via == "exec" && !c.Shell && len(c.words()) == 1 && strings.Contains(word, " ") && !strings.Contains(word, "/") {
		return usage("%q is no program: write its arguments as words of their own, -- %s, or give --shell", word, word)
	}
	if err := c.execOutputFlags.check(c.Output); err != nil {
		return err
	}
	if err := c.jobLogFlags.check(); err != nil {
		return err
	}
	if c.Gather && c.JobLog != nil {
		return usage("--gather does not go with --job-log: an answer that is held back is not done")
	}
	return client.check()
}

// words are the command without the -- before it.
func (c *execCommand) words() []string {
	if len(c.Words) > 0 && c.Words[0] == "--" {
		return c.Words[1:]
	}
	return c.Words
}
