package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"shoal/netio"
	"shoal/netio/runner/probe"
	"shoal/netio/target"
)

// scanCommand is `shoal client scan`.
type scanCommand struct {
	Targets []string `arg:"" help:"Which machines: node sets, addresses, ranges and prefixes; - for a list on standard input." placeholder:"TARGETS"`
	Ports   string   `short:"p" required:"" help:"Which ports, such as 22,80,8000-8010; icmp among them is an echo request." placeholder:"PORTS"`
	Exclude []string `short:"x" help:"Leave these targets out; may be repeated." placeholder:"TARGETS" sep:"none"`
	Groups  string   `help:"File with the groups that @NAME in the targets stands for." placeholder:"FILE"`
	Pick    *uint64  `help:"Scan only so many of the targets, chosen by --seed." placeholder:"N"`
	Limit   string   `help:"Scan only a part of the targets, such as 10%, or so many, chosen by --seed." placeholder:"N|N%"`

	Rate      int           `help:"Probes started in a second, at most; fewer where answers come late or local means are short." default:"10000" placeholder:"N"`
	Fanout    int           `help:"Probes in flight, at most." default:"1000" placeholder:"N"`
	PerTarget int           `help:"Of them, to one target." default:"100" placeholder:"N"`
	Timeout   time.Duration `help:"How long a probe waits for an answer." default:"2s"`
	Patience  time.Duration `help:"How long a probe is tried again for which the scanning machine lacks the means." default:"30s"`
	Retries   int           `help:"How often a probe is tried again that nothing answered." default:"0" placeholder:"N"`

	Banner bool `help:"Read what open ports say first."`
	TLS    bool `name:"tls" help:"Try TLS at open ports: version, names and expiry of the certificate."`
	HTTP   bool `name:"http" help:"Ask open ports for / by HTTP: status, title and server."`

	Open   bool   `help:"Print open ports alone; the others are counted."`
	Output string `help:"How results look: ${enum}." enum:"text,jsonl,csv" default:"text"`

	Seed     *uint64 `help:"Chooses the order of the probes. Default: any, which the closing line names." placeholder:"N"`
	ResumeAt uint64  `help:"With the --seed of a scan that was cut off: go on at this place of its order." placeholder:"N"`
	JobLog   *string `help:"Record in this file how far the scan is, on the disk, about every second." placeholder:"FILE"`
	Resume   bool    `help:"With --job-log: go on with the scan that the file is of."`

	Embedded bool `help:"Scan from this process instead of a gateway."`
}

// Help is what --help adds.
func (c *scanCommand) Help() string {
	return `Examples:
  shoal client scan 127.0.0.0/20 -p 22,80,443,8000-8010
  shoal client scan 'web[01-40],db[1-3]' -x web07 -p 22,443 --open --banner --tls
  shoal client scan --embedded 10.0.0.0/8 -p 22 --rate 5000 --job-log scan.log
  shoal client scan 10.0.0.0/8 -p 22 --job-log scan.log --resume

SIGUSR1 shows how far the scan is. Each probe has one of five answers: open, closed, filtered (nothing came back in time), unreachable (a router or the routing
table said so), or not_tried: the scanning machine lacked descriptors, ports or rights for as long as --patience, or the
gateway does not allow the address. Local errors are never taken for closed.

Text output is target:port, answer, and what else is known, with tabs between. Probes are made in a random order that depends
on targets, ports and --seed alone. When a gateway drains or is lost, the scan goes on with what has no answer, without one
being printed twice. --resume-at and --resume print again what was printed beyond the place, or in the last second, at most.

Exit status: 0 every probe has its answer, 1 results or the job log could not be written, 2 bad input, 3 some were not tried or
the gateway refuses, 4 some have no answer, 5 no gateway reached, 130 interrupted (143 by SIGTERM).`
}

// Run scans and prints what comes.
func (c *scanCommand) Run(p *process, client *clientCommand) error {
	if err := client.check(); err != nil {
		return err
	}
	if err := p.stdout.usable(); err != nil {
		return err
	}
	s, err := c.scan()
	if err != nil {
		return err
	}
	log, err := openScanLog(c.JobLog, c.Resume, c.Seed != nil, &s)
	if err != nil {
		return err
	}
	defer log.close()
	url := client.url()
	if c.Embedded {
		gw, err := c.embed(client, p)
		if err != nil {
			return err
		}
		defer gw.Close()
		url = gw.URLs()[0]
	}
	sw, err := client.dial(p.ctx, p, url, netio.SwarmConfig{})
	if err != nil {
		return err
	}
	defer sw.Close()
	return c.report(p, client, sw, s, log)
}

// scan makes the description.
func (c *scanCommand) scan() (probe.Scan, error) {
	if c.Rate < 1 || c.Fanout < 1 || c.PerTarget < 1 || c.Retries < 0 {
		return probe.Scan{}, usage("--rate, --fanout and --per-target have to be at least 1, --retries at least 0")
	}
	if c.Timeout < time.Millisecond || c.Patience < time.Millisecond {
		return probe.Scan{}, usage("--timeout and --patience have to be at least 1ms")
	}
	if c.ResumeAt > 0 && (c.Seed == nil || c.Resume) {
		return probe.Scan{}, usage("--resume-at goes with --seed, and not with --resume")
	}
	if c.Resume && c.JobLog == nil {
		return probe.Scan{}, usage("--resume goes with --job-log FILE")
	}
	seed := uint64(rand.Uint32())
	if c.Seed != nil {
		seed = *c.Seed
	}
	set, err := c.targets(seed)
	if err != nil {
		return probe.Scan{}, err
	}
	return probe.Scan{Version: 1, Targets: set.String(), Ports: c.Ports, Seed: seed, From: c.ResumeAt, TimeoutMS: c.Timeout.Milliseconds(),
		PatienceMS: c.Patience.Milliseconds(), Rate: c.Rate, Fanout: c.Fanout, PerTarget: c.PerTarget, Retries: c.Retries,
		Banner: c.Banner, TLS: c.TLS, HTTP: c.HTTP}, nil
}

// targets evaluates what is to be scanned.
func (c *scanCommand) targets(seed uint64) (target.Set, error) {
	parser := &target.Parser{}
	if c.Groups != "" {
		f, err := openInput(c.Groups)
		if err != nil {
			return target.Set{}, err
		}
		defer f.Close()
		if parser.Groups, err = target.ParseGroups(f.Name(), f); err != nil {
			return target.Set{}, usage("--groups: %w", err)
		}
	}
	var set target.Set
	for _, text := range c.Targets {
		more, err := parseTargets(parser, text)
		if err != nil {
			return set, err
		}
		set = set.Union(more)
	}
	for _, text := range c.Exclude {
		less, err := parseTargets(parser, text)
		if err != nil {
			return set, err
		}
		set = set.Minus(less)
	}
	if c.Limit != "" {
		share, err := target.ParseShare(c.Limit)
		if err != nil {
			return set, usage("--limit %w", err)
		}
		if set, err = pick(set, share.Of(set.Len()), seed); err != nil {
			return set, targetError("--limit", err)
		}
	}
	if c.Pick != nil {
		picked, err := set.Pick(*c.Pick, seed)
		if err != nil {
			return set, usage("--pick: %w", err)
		}
		set = picked
	}
	if set.Len() == 0 {
		return set, usage("no targets are left")
	}
	return set, nil
}

// parseTargets reads an expression, or the host file on standard input.
func parseTargets(parser *target.Parser, text string) (target.Set, error) {
	if text == "-" {
		f, err := openInput(text)
		if err != nil {
			return target.Set{}, err
		}
		set, err := parser.ReadHosts(f.Name(), f)
		if err != nil {
			return target.Set{}, usage("%w", err)
		}
		return set, nil
	}
	set, err := parser.Parse(text)
	if err != nil {
		return target.Set{}, usage("targets: %w", err)
	}
	return set, nil
}

// embed starts a gateway in this process that scans, on a socket like any other.
func (c *scanCommand) embed(client *clientCommand, p *process) (*netio.Gateway, error) {
	config := netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}}
	if client.Verbose {
		config.Logger = newLogger(p.stderr, "info", "text")
	}
	gw := netio.NewGateway(config)
	probe.Serve(gw, probe.ServerConfig{})
	return gw, gw.Start()
}

// report makes the scan, prints the results, and returns the command's outcome.
func (c *scanCommand) report(p *process, client *clientCommand, sw *netio.Swarm, s probe.Scan, log *scanLog) error {
	hurry := func() { _ = sw.Close() }
	p.interrupt.hurry.Store(&hurry)
	defer context.AfterFunc(p.ctx, func() { time.AfterFunc(patience, hurry) })()
	r := &scanReport{p: p, open: c.Open, log: log, begun: time.Now()}
	var err error
	r.remote, err = probe.NewRemote(sw, s, probe.RemoteOptions{Status: r.status, Resumed: r.resumed(client), GiveUp: max(client.Wait, time.Minute)})
	if err != nil {
		return usage("%w", err)
	}
	total := r.remote.Total()
	r.progress = newProgress(p.stderr, progressOptions{Unit: "probes", Total: int64(min(total, math.MaxInt64)),
		Before: int64(r.remote.Answered()), Quiet: client.Quiet, Plain: client.Stats})
	defer r.progress.close()
	r.out = newScanWriter(r.progress.beside(p.stdout), c.Output, !p.stdout.continued())
	stop := showOnSignal(r.writeUnderway)
	err = r.results(p.ctx)
	stop()
	r.progress.close()
	if !client.Quiet {
		fmt.Fprintln(p.stderr, r.summary(s, err))
	}
	return r.outcome(err)
}

// scanReport is what a person or a program sees of a scan.
type scanReport struct {
	p        *process
	remote   *probe.Remote
	out      *scanWriter
	progress *progress
	log      *scanLog
	open     bool // print open ports alone
	begun    time.Time
	before   uint64       // answers of earlier runs
	printed  probe.Counts // what has been handed to the writer, by answer
	last     atomic.Pointer[probe.Status]
	answered atomic.Uint64
}

func (r *scanReport) status(s probe.Status) { r.last.Store(&s) }

// writeUnderway says how far the scan is; any goroutine may call it.
func (r *scanReport) writeUnderway() {
	text := fmt.Sprintf("under way for %.1f s: %d of %d probes answered", time.Since(r.begun).Seconds(), r.answered.Load(), r.remote.Total())
	if s := r.last.Load(); s != nil {
		text += fmt.Sprintf("; %d of at most %d in flight, at most %s/s", s.InFlight, s.Sockets, formatRate(s.Rate))
	}
	fmt.Fprintln(r.progress.besideStderr(r.p.stderr), text)
}

func (r *scanReport) resumed(client *clientCommand) func(error) {
	return func(err error) {
		if client.Verbose {
			fmt.Fprintf(r.p.stderr, "the scan goes on: %s\n", visible(err.Error()))
		}
	}
}

// results prints each result. It returns nil only where every probe has its answer, and each that is to be printed has been
// handed to standard output.
func (r *scanReport) results(ctx context.Context) error {
	r.before = r.remote.Answered()
	var written error
	for result, err := range r.remote.Results(ctx) {
		if err != nil {
			return errors.Join(r.flush(), err)
		}
		if !r.open || result.Answer == probe.Open {
			r.printed.Add(result.Answer)
			written = r.out.Write(&result)
		}
		if written == nil && !result.More {
			written = r.out.Flush()
		}
		if written != nil {
			break
		}
		if !result.More {
			// The log holds less than is printed: this result is not counted yet.
			if written = r.log.progress(r.remote); written != nil {
				break
			}
		}
		r.answered.Store(r.remote.Answered())
		r.progress.set(int64(r.remote.Answered()), int64(r.remote.Counts().NotTried))
	}
	if written != nil {
		return written
	}
	return errors.Join(r.flush(), r.complete())
}

// flush prints what is buffered, and then logs it.
func (r *scanReport) flush() error {
	if err := r.out.Flush(); err != nil {
		return err
	}
	return r.log.end(r.remote)
}

// complete compares what was printed with what there was to print.
func (r *scanReport) complete() error {
	counts, total := r.remote.Counts(), r.remote.Total()
	want := counts
	if r.open {
		want = probe.Counts{Open: counts.Open}
	}
	if counts.Total()+r.before != total || r.printed != want {
		return fmt.Errorf("%w: %d answers before and %d now of %d probes, %d results printed of %d", probe.ErrIncomplete, r.before,
			counts.Total(), total, r.printed.Total(), want.Total())
	}
	return nil
}

// summary is the closing line.
func (r *scanReport) summary(s probe.Scan, err error) string {
	elapsed := time.Since(r.begun)
	counts := r.remote.Counts()
	text := fmt.Sprintf("%s: %v; %.3f s", counted(int(counts.Total()), "probe"), counts, elapsed.Seconds())
	if n := counts.Total(); n > 0 && elapsed > 0 {
		text += fmt.Sprintf(", %s probes/s", formatRate(float64(n)/elapsed.Seconds()))
	}
	if last := r.last.Load(); last != nil && last.LocalErrors > 0 {
		text += fmt.Sprintf("; %s for want of local means", counted(int(last.LocalErrors), "start")+" failed")
	}
	if n := r.remote.Resumes(); n > 0 {
		text += fmt.Sprintf("; went on %s", counted(n, "time"))
	}
	if r.before > 0 {
		text += fmt.Sprintf("; %d answered before", r.before)
	}
	text += fmt.Sprintf("; seed %d", s.Seed)
	if left := r.remote.Total() - r.remote.Answered(); left > 0 || err != nil && !hadEnough(err) {
		text += fmt.Sprintf("; %d without an answer: go on with --seed %d --resume-at %d", left, s.Seed, r.remote.Rest().From)
	}
	return text
}

// outcome makes the exit status of how the scan ended.
func (r *scanReport) outcome(err error) error {
	_, log := errors.AsType[*jobLogError](err)
	_, out := errors.AsType[*outputError](err)
	switch {
	case out && hadEnough(err):
		return nil
	case r.p.ctx.Err() != nil:
		return r.p.interruptedWith(err)
	case err == nil && r.remote.Counts().NotTried > 0:
		return &exitError{status: exitFailed}
	case err == nil, log, out:
		return err
	case errors.Is(err, netio.ErrUnreachable):
		return &exitError{exitUnreachable, err}
	case errors.Is(err, netio.ErrBadArgument):
		return &exitError{exitUsage, err}
	case errors.Is(err, netio.ErrUnknownSubroutine):
		return &exitError{exitFailed, fmt.Errorf("%w; the gateway offers scans when it is started with --probe", err)}
	case errors.Is(err, netio.ErrNotAllowed), errors.Is(err, netio.ErrFailed), errors.Is(err, netio.ErrPanicked):
		return &exitError{exitFailed, err}
	}
	return &exitError{exitUnknown, err}
}
