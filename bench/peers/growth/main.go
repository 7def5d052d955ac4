package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

func main() {
	if childMain() {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// run measures what the arguments ask for, prints the tables and draws the plots.
func run(args []string) error {
	flags := flag.NewFlagSet("growth", flag.ExitOnError)
	only := flags.String("only", "", "what is to grow: connections, table, workers, size, inflight, separated by commas; default: all")
	rounds := flags.Int("rounds", 3, "rounds of each point")
	round := flags.Duration("time", time.Second, "length of a round")
	svg := flags.String("svg", "", "folder for the plots")
	profiles := flags.String("profiles", "", "folder for CPU profiles of both processes at each point")
	quiet := flags.Bool("q", false, "say nothing while measuring")
	_ = flags.Parse(args) // it exits
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *rounds < 1 || *round <= 0:
		return fmt.Errorf("rounds and time have to be above zero")
	}
	chosen, err := chooseDimensions(*only)
	if err != nil {
		return err
	}
	for _, dir := range []string{*svg, *profiles} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
		}
	}
	p := plan{*rounds, *round, *profiles, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	if *quiet {
		p.note = func(string, ...any) {}
	}
	fmt.Printf("%s %s/%s, %d processors, GOMAXPROCS=2 in each process; medians of %d rounds of %v.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds, *round)
	for _, d := range chosen {
		grown := measure(d, p)
		printTable(os.Stdout, d, grown)
		if *svg != "" {
			if err := writePlot(*svg, d, grown); err != nil {
				return err
			}
		}
	}
	return nil
}
