package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	run := func() error { return runParent(os.Args[1:]) }
	if spec := os.Getenv(roleVariable); spec != "" {
		run = func() error { return runChild(spec) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// runParent measures what the arguments ask for and prints the tables.
func runParent(args []string) error {
	flags := flag.NewFlagSet("peers", flag.ExitOnError)
	names := flags.String("peers", "", "who takes part, by name or family (shoal, floor, grpc, nats), separated by commas; default: all\n"+peerNames())
	loadNames := flags.String("loads", "", "loads: one, 64, 1024, batch; default: all")
	rounds := flags.Int("rounds", 3, "rounds of each peer and load")
	round := flags.Duration("time", 2*time.Second, "length of a round")
	procs := flags.Int("procs", 2, "GOMAXPROCS of each process")
	svg := flags.String("svg", "", "file for a plot of tasks/s")
	quiet := flags.Bool("q", false, "say nothing while measuring")
	_ = flags.Parse(args) // it exits
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *rounds < 1 || *round <= 0 || *procs < 1:
		return fmt.Errorf("rounds, time and procs have to be above zero")
	}
	chosen, err := choosePeers(*names)
	if err != nil {
		return err
	}
	chosenLoads, err := chooseLoads(*loadNames)
	if err != nil {
		return err
	}
	note := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if *quiet {
		note = func(string, ...any) {}
	}
	printSetting(chosen, *rounds, *round, *procs)
	var outcomes []outcome
	for _, l := range chosenLoads {
		o := newOutcome(l, contest(l, chosen, plan{*rounds, *round, *procs, note}))
		o.print(os.Stdout)
		outcomes = append(outcomes, o)
	}
	if *svg == "" {
		return nil
	}
	f, err := os.Create(*svg)
	if err != nil {
		return err
	}
	if err := writeSVG(f, outcomes); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func peerNames() string {
	var b strings.Builder
	for _, p := range peers {
		fmt.Fprintf(&b, "  %-12s %s\n", p.name, p.about)
	}
	return b.String()
}

// printSetting says what a reader needs to judge the tables by.
func printSetting(chosen []peer, rounds int, round time.Duration, procs int) {
	fmt.Printf("%s %s/%s, %d processors, GOMAXPROCS=%d in each process; medians of %d interleaved rounds of %v.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), procs, rounds, round)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "google.golang.org/grpc", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "storj.io/drpc":
				fmt.Printf("%s %s. ", d.Path, d.Version)
			}
		}
		fmt.Println()
	}
	fmt.Println()
	for _, p := range chosen {
		fmt.Printf("- %s: %s\n", p.name, p.about)
	}
}
