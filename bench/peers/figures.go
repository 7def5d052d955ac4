package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Figures are the ratios by which a revision of shoal is judged: over raw gnet, over the floor, over the best peer, and beside
// an earlier revision that takes its turns in the same rounds. figures_rates.go has those of tasks and streams,
// figures_bench.go those that the benchmarks of shoal report, figures_lines.go the size of the code.

// Parts of the figures.
const (
	partRates   = "rates"   // tasks and streams
	partFiles   = "files"   // beside tar and cp
	partGateway = "gateway" // memory, waits, fairness, overload
	partLines   = "lines"   // of code
)

var allParts = []string{partRates, partFiles, partGateway, partLines}

// Settings of the machine.
const (
	settingFree   = "free"   // the processors have nothing else to do
	settingShared = "shared" // each processor also has a process that never sleeps
)

var allSettings = []string{settingFree, settingShared}

// figuresOptions are what the command line asks for.
type figuresOptions struct {
	before   string // the earlier revision; "": none
	parts    []string
	settings []string
	peers    []peer
	loads    []load
	slow     int // rounds of the benchmarks that take long
	plan     plan
}

func (o figuresOptions) has(part string) bool { return slices.Contains(o.parts, part) }

// figuresPeers are those that have been the best at something; the others only take time.
const figuresPeers = "shoal,floor-feed,gnet,netrpc,grpc-stream,grpc-feed,nats-async,nats-feed,drpc,zmq,http-1-feed"

func parseFigures(args []string) (o figuresOptions, err error) {
	flags := flag.NewFlagSet("peers figures", flag.ExitOnError)
	flags.StringVar(&o.before, "before", "", "an earlier revision of this repository, to be built and measured in the same rounds; default: none")
	parts := flags.String("parts", strings.Join(allParts, ","), "what to measure")
	settings := flags.String("settings", strings.Join(allSettings, ","), "what else the processors have to do: free: nothing, shared: a busy process on each")
	names := flags.String("peers", "", "who takes part beside shoal and raw gnet, by name or family; default: who has been the best at something")
	loadNames := flags.String("loads", "", "loads: one, 64, 1024, batch, stream1, stream4; default: all")
	flags.IntVar(&o.slow, "slow", 1, "rounds of idle connections, waits and fairness, half a minute each")
	flags.IntVar(&o.plan.rounds, "rounds", 5, "rounds of everything else")
	flags.DurationVar(&o.plan.round, "time", 500*time.Millisecond, "length of a round of a load")
	flags.IntVar(&o.plan.procs, "procs", 2, "GOMAXPROCS of each process")
	quiet := flags.Bool("q", false, "say nothing while measuring")
	_ = flags.Parse(args) // it exits
	o.plan.note = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if *quiet {
		o.plan.note = func(string, ...any) {}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.plan.rounds < 1 || o.slow < 1 || o.plan.round <= 0 || o.plan.procs < 1:
		return o, fmt.Errorf("rounds, slow, time and procs have to be above zero")
	}
	if o.parts, err = chooseWords(*parts, allParts); err != nil {
		return o, err
	}
	if o.settings, err = chooseWords(*settings, allSettings); err != nil {
		return o, err
	}
	if o.loads, err = chooseLoads(*loadNames); err != nil {
		return o, err
	}
	o.peers, err = figuresContenders(*names)
	return o, err
}

// chooseWords returns the words that are asked for, separated by commas; each has to be one of those that there are.
func chooseWords(asked string, there []string) ([]string, error) {
	words := strings.Split(asked, ",")
	for _, w := range words {
		if !slices.Contains(there, w) {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(there, ", "))
		}
	}
	return words, nil
}

// figuresContenders returns the peers with these names, and those that every figure needs.
func figuresContenders(names string) ([]peer, error) {
	if names == "" {
		names = figuresPeers
	} else {
		names += ",shoal,gnet,floor-feed"
	}
	asked := slices.DeleteFunc(strings.Split(names, ","), func(name string) bool { return name == "zmq" && len(zmqPeers) == 0 })
	return choosePeers(strings.Join(asked, ","))
}

// runFigures measures what the arguments ask for and prints the tables.
func runFigures(args []string) error {
	o, err := parseFigures(args)
	if err != nil {
		return err
	}
	b, err := buildRevisions(o)
	if err != nil {
		return err
	}
	defer b.remove()
	fmt.Printf("%s %s/%s, %d processors, GOMAXPROCS=%d in each process; %s", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), o.plan.procs, b.now)
	if o.before != "" {
		fmt.Printf(", before: %s", b.before)
	}
	fmt.Printf(". Medians of %d interleaved rounds of %v, in brackets the lowest and the highest.\n", o.plan.rounds, o.plan.round)
	if o.has(partRates) {
		printRates(os.Stdout, o, b)
	}
	return printRest(os.Stdout, o, b)
}

// printRest prints the figures that are not ratios of rates.
func printRest(w io.Writer, o figuresOptions, b *builds) error {
	t := markdown{heads: []string{"what", "goal", "now"}}
	if o.before != "" {
		t.heads = append(t.heads, "before")
	}
	for _, m := range benchFigures {
		if o.has(m.part) {
			t.rows = append(t.rows, m.measure(o, b))
		}
	}
	if o.has(partLines) {
		row, err := linesRow(o, b)
		if err != nil {
			return err
		}
		t.rows = append(t.rows, row)
	}
	t.print(w)
	return nil
}

// markdown is a markdown table of text: a row may be shorter than its heads.
type markdown struct {
	heads []string
	rows  [][]string
}

func (t markdown) print(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| %s |\n| --- |%s\n", strings.Join(t.heads, " | "), strings.Repeat(" ---: |", len(t.heads)-1))
	for _, r := range t.rows {
		for len(r) < len(t.heads) {
			r = append(r, "–")
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(r[:len(t.heads)], " | "))
	}
}
