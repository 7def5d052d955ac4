package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	run := func() error { return runParent(os.Args[1:]) }
	if len(os.Args) > 1 && os.Args[1] == "figures" {
		run = func() error { return runFigures(os.Args[2:]) }
	}
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
	loadNames := flags.String("loads", "", "loads: one, 64, 1024, batch, stream1, stream4; default: all")
	open := flags.Bool("open", true, "also latencies at offered rates")
	rounds := flags.Int("rounds", 3, "rounds of each peer and load")
	round := flags.Duration("time", 2*time.Second, "length of a round")
	procs := flags.Int("procs", 2, "GOMAXPROCS of each process")
	svg := flags.String("svg", "", "folder for plots, "+rateFile+" and "+latencyFile+"; default: none")
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
	m := measured{}
	m.closedLoops(os.Stdout, chosenLoads, chosen, plan{*rounds, *round, *procs, note})
	if *open {
		m.openLoops(os.Stdout, chosen, plan{*rounds, *round, *procs, note})
	}
	if *svg == "" {
		return nil
	}
	return m.plot(*svg)
}

// measured is what a run has found out.
type measured struct {
	outcomes []outcome
	ladders  []ladder
}

func (m *measured) closedLoops(w io.Writer, loads []load, chosen []peer, pl plan) {
	for _, l := range loads {
		o := newOutcome(l, contest(l, chosen, pl))
		o.print(w)
		m.outcomes = append(m.outcomes, o)
	}
}

// openLoops follows closedLoops, whose highest rates it needs.
func (m *measured) openLoops(w io.Writer, chosen []peer, pl plan) {
	for _, o := range m.outcomes {
		if o.load.Open == "" {
			continue
		}
		if l, ok := climb(o, chosen, pl); ok {
			l.print(w)
			m.ladders = append(m.ladders, l)
		}
	}
	printHalves(w, m.ladders)
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
