package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"shoal/netio/target"
)

// targetFlags are those of the commands whose targets are node sets.
type targetFlags struct {
	On       []string `short:"w" name:"on" help:"Targets: node sets such as web[01-40],@rack1!web07, 10.0.0.0/24, 10.0.0.1-10.0.0.9; - for standard input. May be given again." placeholder:"TARGETS" sep:"none"`
	Exclude  []string `short:"x" help:"Targets to leave out, written in the same way." placeholder:"TARGETS" sep:"none"`
	HostFile []string `name:"hostfile" help:"Targets of this file, written in the same way, one or more a line; # begins a comment." placeholder:"FILE" sep:"none"`
	Groups   string   `help:"Groups for @name and wildcards: a file with a line 'name: targets' for each." env:"SHOAL_GROUPS" placeholder:"FILE"`
	Pick     *uint64  `help:"So many of them, at random." placeholder:"N"`
	Limit    string   `help:"A part of them at random, such as 10%, or so many." placeholder:"N|N%"`
	Seed     *uint64  `help:"With --pick and --limit: the same seed picks the same targets." placeholder:"N"`
}

// targetsHelp is what --help says of them.
const targetsHelp = `Targets are node sets as ClusterShell writes them: web7, web[01-40], rack[1-4]-node[1-32/2], with , for union, ! for without,
& for both and ^ for one of both, read from left to right; @name for a group, @* for all groups, web* for the nodes of all
groups that match; addresses, prefixes and ranges of them, IPv4 and IPv6.`

// set reads the targets. The arguments are expressions beside those of -w.
func (f *targetFlags) set(arguments ...string) (target.Set, error) {
	parser := target.Parser{Stdin: os.Stdin}
	if f.Groups != "" {
		file, err := openInput(f.Groups)
		if err != nil {
			return target.Set{}, fmt.Errorf("--groups: %w", err)
		}
		defer file.Close()
		if parser.Groups, err = target.ParseGroups(file.Name(), file); err != nil {
			return target.Set{}, targetError("--groups", err)
		}
	}
	var all target.Set
	for _, text := range append(arguments, f.On...) {
		s, err := parser.Parse(text)
		if err != nil {
			return target.Set{}, targetError("targets", err)
		}
		all = all.Union(s)
	}
	for _, name := range f.HostFile {
		s, err := readHosts(&parser, name)
		if err != nil {
			return target.Set{}, err
		}
		all = all.Union(s)
	}
	given := all.Len()
	for _, text := range f.Exclude {
		s, err := parser.Parse(text)
		if err != nil {
			return target.Set{}, targetError("-x", err)
		}
		all = all.Minus(s)
	}
	switch {
	case len(f.On)+len(f.HostFile)+len(arguments) == 0:
		return target.Set{}, usage("no targets: give them by -w, such as -w 'web[01-40]', or by --hostfile FILE")
	case given == 0:
		return target.Set{}, usage("the targets that are given are none")
	case all.Len() == 0:
		return target.Set{}, usage("-x leaves none of the %d targets", given)
	}
	return f.sample(all)
}

func readHosts(parser *target.Parser, name string) (target.Set, error) {
	file, err := openInput(name)
	if err != nil {
		return target.Set{}, fmt.Errorf("--hostfile: %w", err)
	}
	defer file.Close()
	s, err := parser.ReadHosts(file.Name(), file)
	if err != nil {
		return target.Set{}, targetError("--hostfile", err)
	}
	return s, nil
}

// sample takes what --pick and --limit ask for.
func (f *targetFlags) sample(all target.Set) (target.Set, error) {
	seed := rand.Uint64()
	switch {
	case f.Seed != nil && f.Pick == nil && f.Limit == "":
		return target.Set{}, usage("--seed goes with --pick or --limit")
	case f.Seed != nil:
		seed = *f.Seed
	}
	if f.Limit != "" {
		share, err := target.ParseShare(f.Limit)
		if err != nil {
			return target.Set{}, usage("--limit %w", err)
		}
		if all, err = pick(all, share.Of(all.Len()), seed); err != nil {
			return target.Set{}, targetError("--limit", err)
		}
	}
	if f.Pick != nil {
		var err error
		if all, err = pick(all, *f.Pick, seed); err != nil {
			return target.Set{}, targetError("--pick", err)
		}
	}
	return all, nil
}

func pick(all target.Set, n, seed uint64) (target.Set, error) {
	if n == 0 {
		return target.Set{}, errors.New("it leaves no target")
	}
	return all.Pick(n, seed)
}

func targetError(flag string, err error) error { return usage("%s: %w", flag, err) }
