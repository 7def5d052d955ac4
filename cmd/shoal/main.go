// Command shoal is a gateway for batches of tasks, and the client that sends them: see the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"shoal/netio"
)

// version is what --version prints beside what the build knows of itself.
const version = "0.1.0"

// cli is the command line.
type cli struct {
	Server serverCommand `cmd:"" help:"Run a gateway until it is interrupted."`
	Client clientCommand `cmd:"" help:"Send work to a gateway."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// Exit statuses.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitFailed      = 3 // some tasks failed
	exitUnknown     = 4 // some tasks timed out or were lost
	exitUnreachable = 5 // no gateway
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// process is what a command gets of its surroundings.
type process struct {
	ctx    context.Context // ends with the first interrupt
	stdout *os.File
	stderr *os.File
}

// exitError ends the process with a status; its text, if there is one, goes to standard error.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage makes an error of what the user can mend.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// run parses the command line, runs the command, and returns the exit status.
func run(args []string, stdout, stderr *os.File) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("shoal"),
		kong.Description("Batches of tasks, calls, streams and files over a swarm of persistent connections."),
		kong.Vars{"version": versionText(), "default_url": netio.DefaultURL},
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
		fmt.Fprintf(stderr, "shoal: %v\nTry 'shoal --help', or --help after a command.\n", err)
		return exitUsage
	}
	// A reader that goes away (head, a closed pager) is an error of the write, not the end of the process.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err = k.Run(&process{ctx: ctx, stdout: stdout, stderr: stderr})
	return exitStatus(err, stderr)
}

// exitStatus prints the error, if it says something, and returns the status it stands for.
func exitStatus(err error, stderr io.Writer) int {
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if text := exit.Error(); text != "" {
			fmt.Fprintln(stderr, "shoal:", text)
		}
		return exit.status
	case errors.Is(err, syscall.EPIPE):
		return exitOK // whoever read has had enough
	}
	fmt.Fprintln(stderr, "shoal:", err)
	if errors.Is(err, netio.ErrUnreachable) {
		fmt.Fprintln(stderr, "shoal: start one with 'shoal server', name another with --gateway, or wait for it with --wait 30s")
	}
	switch {
	case errors.Is(err, netio.ErrBadFile), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return exitUsage
	case errors.Is(err, netio.ErrUnreachable), errors.Is(err, netio.ErrNotShoal), errors.Is(err, netio.ErrVersion),
		errors.Is(err, netio.ErrFull):
		return exitUnreachable
	}
	var te *netio.TaskError
	var se *netio.StreamError
	if errors.As(err, &te) || errors.As(err, &se) {
		return statusExit(netio.StatusOf(err))
	}
	return exitInternal
}

// statusExit returns the exit status for a task's status.
func statusExit(s netio.Status) int {
	switch s {
	case netio.StatusOK:
		return exitOK
	case netio.StatusTimeout, netio.StatusLost:
		return exitUnknown
	}
	return exitFailed
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

// interrupts ends a context with the first interrupt and calls second with the next.
func interrupts(parent context.Context, second func()) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with ctx's cancel function
		defer signal.Stop(signals)
		for count := 0; ; count++ {
			select {
			case <-signals:
				if count > 0 {
					second()
					return
				}
				cancel()
			case <-parent.Done():
				return
			}
		}
	}()
	return ctx, cancel
}
