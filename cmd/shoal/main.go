// Command shoal is a gateway for batches of tasks, and the client that sends them: see the README.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"shoal/netio"
	"shoal/netio/runner/execrun"
)

// version is what --version prints beside what the build knows of itself.
const version = "0.1.0"

// cli is the command line.
type cli struct {
	Server serverCommand `cmd:"" help:"Run a gateway until it is interrupted."`
	Client clientCommand `cmd:"" help:"Send work to a gateway."`
	Cert   certCommand   `cmd:"" help:"Make certificates and tokens: who may use a gateway."`
	Rights rightsCommand `cmd:"" help:"What each identity may do at a gateway."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

func main() {
	execrun.Supervise()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Help is what --help adds.
func (c *cli) Help() string {
	return `Examples:
  shoal client run --embedded --table testdata/table.txt testdata/commands.txt
  shoal server --demo`
}

// process is what a command gets of its surroundings.
type process struct {
	ctx       context.Context // ends with the first interrupt
	interrupt *interrupt
	stdout    *output
	stderr    *os.File
}

// run parses the command line, runs the command, and returns the exit status.
func run(args []string, stdout, stderr *os.File) int {
	var c cli
	exited := -1
	if os.Getenv(gatewayVariable) == "" { // as if it were not set
		_ = os.Unsetenv(gatewayVariable)
	}
	parser, err := kong.New(&c,
		kong.Name("shoal"),
		kong.Description("Batches of tasks, calls, streams and files over a swarm of persistent connections."),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
		kong.Vars{"version": versionText(), "default_url": netio.DefaultURL, "default_tls_url": defaultTLSURL},
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { exited = status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "shoal:", err)
		return exitInternal
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help and --version
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "shoal: %v%s\nTry 'shoal --help', or --help after a command.\n", err, addressHint(args))
		return exitUsage
	}
	// A reader that goes away (head, a closed pager) is an error of the write, not the end of the process.
	signal.Ignore(syscall.SIGPIPE)
	p := &process{stdout: newOutput(stdout), stderr: stderr}
	p.interrupt = &interrupt{exit: os.Exit, output: p.stdout, reloads: k.Command() == "server" && (c.Server.Table != "" || c.Server.guarded())}
	ctx, stop := p.interrupt.watch(context.Background())
	defer stop()
	p.ctx = ctx
	err = k.Run(p)
	if closed := p.stdout.close(); err == nil {
		err = closed
	}
	return exitStatus(err, stderr)
}

// versionText names the version, and the commit where the build knows it.
func versionText() string {
	text := "shoal " + version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += " (" + s.Value[:min(12, len(s.Value))] + ")"
			}
		}
		text += " " + info.GoVersion
	}
	return text
}
