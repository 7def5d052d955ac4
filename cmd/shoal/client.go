package main

import (
	"context"
	"strings"
	"time"

	"shoal/netio"
)

// clientCommand is `shoal client` and what all its commands share.
type clientCommand struct {
	Gateway     []string      `help:"The gateway's address, tcp://host:port, tls://host:port or unix:///path; default ${default_url}." env:"SHOAL_GATEWAY" placeholder:"URL" sep:"none"`
	Connections int           `help:"Connections to keep to the gateway; default ${default}." default:"4" placeholder:"N"`
	Wait        time.Duration `help:"How long to wait for a gateway that is not there yet, such as 30s." default:"0s"`
	Heartbeat   time.Duration `help:"Ask a silent gateway for a sign of life so often; after three times in vain the connection is lost. Default: ${default}." default:"5s" placeholder:"TIME"`
	GiveUp      time.Duration `help:"How long a gateway that was lost is tried again before what it had under way counts as lost. Default: ${default}, at least --wait." default:"60s" placeholder:"TIME"`
	Compress    string        `help:"Compress what is sent where it shrinks: ${enum}; auto: files, unless the gateway is on this machine." enum:"auto,none,s2,zstd" default:"auto"`
	Quiet       bool          `short:"q" help:"No progress and no closing counts on standard error."`
	Verbose     bool          `short:"v" help:"Say on standard error what happens to the connections."`
	Raw         bool          `help:"Write what comes to a terminal as it is, also what terminals obey. Elsewhere it always is."`
	Stats       time.Duration `help:"Say on standard error how far the work is, so often, where that is no terminal, such as 30s. Default: never; 5s for files." placeholder:"TIME"`

	calm bool // nothing is said when the gateway is lost: it was asked to end

	clientTrust `embed:""`

	Exec   execCommand   `cmd:"" help:"Run a command on each of many targets, and print the answers as they come."`
	Run    runCommand    `cmd:"" help:"Run a file of tasks, host:command a line, and print each answer as it comes."`
	Call   callCommand   `cmd:"" help:"Call a subroutine once and print its answer."`
	Map    mapCommand    `cmd:"" help:"Call a subroutine for each line of standard input."`
	Stream streamCommand `cmd:"" help:"Open a stream and print it as it comes."`
	Scan   scanCommand   `cmd:"" help:"Find out which ports of many addresses are open."`
	Send   sendCommand   `cmd:"" help:"Send a file, or standard input, to a subroutine and print its answer."`
	List   listCommand   `cmd:"" help:"List the gateway's subroutines."`
	Ls     lsCommand     `cmd:"" help:"List the gateway's files."`
	Get    getCommand    `cmd:"" help:"Get files and folders from the gateway."`
	Put    putCommand    `cmd:"" help:"Put files and folders at the gateway."`
	Ping   pingCommand   `cmd:"" help:"Measure the round-trip time of each connection."`
	Stop   stopCommand   `cmd:"" help:"Stop the gateway, if it lets clients do that."`
}

// Help is what --help adds.
func (c *clientCommand) Help() string {
	return `Examples:
  shoal client run testdata/commands.txt
  shoal client call square 12
  shoal client --gateway unix:///tmp/shoal.sock --wait 30s list

Standard output carries nothing but results. Exit status: 0 all ok, 1 internal error, 2 usage or bad input, 3 some tasks
failed, 4 some timed out or were lost, 5 no gateway reached, 130 interrupted (143 by SIGTERM). A time is a number of seconds,
or 500ms, 2m, 1h30m, 1d.`
}

// check refuses numbers that make no sense.
func (c *clientCommand) check() error {
	if c.Connections < 1 || c.Connections > 1<<16 {
		return usage("--connections %d: it has to be from 1 to 65536", c.Connections)
	}
	if c.Wait < 0 {
		return usage("--wait %v: it cannot be negative", c.Wait)
	}
	if c.Heartbeat <= 0 || c.GiveUp <= 0 {
		return usage("--heartbeat and --give-up have to be positive times like 5s")
	}
	if c.Stats < 0 {
		return usage("--stats %v: it cannot be negative", c.Stats)
	}
	if len(c.Gateway) > 1 {
		return usage("--gateway is given %d times: one client has one gateway", len(c.Gateway))
	}
	return nil
}

// gatewayVariable names the gateway where --gateway does not.
const gatewayVariable = "SHOAL_GATEWAY"

// url is the address of the gateway.
func (c *clientCommand) url() string {
	if len(c.Gateway) == 0 && c.inTLS() {
		return defaultTLSURL
	}
	if len(c.Gateway) == 0 {
		return netio.DefaultURL
	}
	return c.Gateway[0]
}

// addressHint says where an address goes that stands in the place of something else.
func addressHint(args []string) string {
	for i, arg := range args {
		if !strings.HasPrefix(arg, "tcp://") && !strings.HasPrefix(arg, "tls://") && !strings.HasPrefix(arg, "unix://") || i > 0 && strings.HasPrefix(args[i-1], "--") {
			continue
		}
		if args[0] == "server" {
			return "; an address to listen on is written --listen " + arg
		}
		return "; the address of a gateway is written --gateway " + arg
	}
	return ""
}

// dialTimeout is how long one try to connect may take.
const dialTimeout = 5 * time.Second

// dial connects to the gateway at url.
func (c *clientCommand) dial(ctx context.Context, p *process, url string, config netio.SwarmConfig) (*netio.Swarm, error) {
	config.Connections, config.Wait, config.Compress = c.Connections, c.Wait, compressions[c.Compress]
	config.Heartbeat, config.GiveUp, config.DialTimeout = c.Heartbeat, c.GiveUp, min(dialTimeout, c.GiveUp)
	if c.Raw {
		p.stdout.raw()
	}
	if c.Verbose {
		config.Logger = newLogger(p.stderr, "info", "text")
	}
	if config.OnConnection == nil && !c.Quiet && !c.calm {
		config.OnConnection = c.outage(func(line string) { sayLine(p.stderr, line) }).happened
	}
	if err := c.secure(url, &config); err != nil {
		return nil, err
	}
	s, err := netio.Dial(ctx, url, &config)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, p.interrupted()
	}
	return nil, unreachable(err)
}

// session runs a command's work with a swarm, under the first interrupt.
func (c *clientCommand) session(p *process, connections int, work func(ctx context.Context, s *netio.Swarm) error) error {
	if err := c.check(); err != nil {
		return err
	}
	if connections > 0 {
		c.Connections = connections
	}
	s, err := c.dial(p.ctx, p, c.url(), netio.SwarmConfig{})
	if err == nil {
		defer s.Close()
		err = work(p.ctx, s)
	}
	if p.ctx.Err() != nil {
		return p.interruptedWith(err)
	}
	return err
}
