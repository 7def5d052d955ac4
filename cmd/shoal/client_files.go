package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"shoal/netio"
	"shoal/netio/files"
)

// selectFlags say which files are meant, in `ls`, `get` and `put`.
type selectFlags struct {
	Glob    bool     `help:"Take each pattern for a glob: * ? [a-z] within a name, ** for any folders. Default: for a path where there is one, else for a glob." xor:"syntax"`
	Regex   bool     `help:"Take each pattern for a regular expression on the path of a file below the root." xor:"syntax"`
	Exclude []string `help:"Leave out what matches this, and all below it; may be repeated. A glob without a slash is compared with the last name of a path." placeholder:"PATTERN" sep:"none"`
}

func (f *selectFlags) selection(patterns []string) files.Selection {
	s := files.Selection{Patterns: patterns, Exclude: f.Exclude}
	switch {
	case f.Glob:
		s.Syntax = files.SyntaxGlob
	case f.Regex:
		s.Syntax = files.SyntaxRegex
	}
	return s
}

// transferFlags are those of `get` and `put`.
type transferFlags struct {
	selectFlags
	DryRun     bool   `help:"Only say what would be done."`
	Checksum   bool   `help:"Compare files of the same size by their content rather than by their time."`
	Bwlimit    string `help:"Bytes a second at most, such as 500K, 20M or 1.5G." placeholder:"RATE"`
	NoPreserve bool   `help:"Do not keep modes and times."`
	Existing   string `help:"What becomes of a file that is there and differs: ${enum}." enum:"overwrite,update,skip,fail" default:"overwrite"`
	Delete     bool   `help:"Remove from folders that are transferred whole what the source does not have; not when anything failed."`
	Fsync      string `help:"What must be on the disk before a file takes its place: ${enum}." enum:"none,files,all" default:"none"`
	Output     string `help:"How what was done looks on standard output: ${enum}. Text has a line for each file with --verbose or --dry-run, jsonl always." enum:"text,jsonl" default:"text"`
}

// options makes the library's options of the flags.
func (f *transferFlags) options(client *clientCommand) (files.Options, error) {
	limit, err := parseRate(f.Bwlimit)
	if err != nil {
		return files.Options{}, err
	}
	o := files.Options{DryRun: f.DryRun, Checksum: f.Checksum, NoPreserve: f.NoPreserve, Delete: f.Delete, Limit: limit,
		Existing: files.Existing(f.Existing), Fsync: fsyncLevel(f.Fsync), Compress: files.Compression(client.Compress),
		Streams: max(8, client.Connections)}
	if f.Existing == "overwrite" {
		o.Existing = files.ExistingOverwrite
	}
	// Content is compressed where it is read; a frame that carries it shrinks no more.
	client.Compress = "none"
	return o, nil
}

// parseRate reads bytes a second; empty: no limit.
func parseRate(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := strings.ToUpper(text), 1.0
	number = strings.TrimSuffix(number, "/S")
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	if n := len(number); n > 0 {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number = number[:n-1]
			for range i + 1 {
				unit *= 1024
			}
		}
	}
	rate, err := strconv.ParseFloat(number, 64)
	if rate *= unit; err != nil || !(rate >= 1 && rate < 1e18) {
		return 0, usage("--bwlimit %s: write a number of bytes a second, such as 500K, 20M or 1.5G", text)
	}
	return int64(rate), nil
}

// getCommand is `shoal client get`.
type getCommand struct {
	Patterns []string `arg:"" name:"pattern" help:"Files and folders below the gateway's root: paths or patterns."`
	To       string   `help:"The folder to put them into; it is made if need be." required:"" placeholder:"DIR"`
	transferFlags
}

// Help is what --help adds.
func (c *getCommand) Help() string {
	return `Examples:
  shoal client get logs --to backup                 # backup/logs and everything below
  shoal client get logs/ --to backup                # what is in logs goes right into backup
  shoal client get 'logs/**/*.gz' --to backup --exclude old
  shoal client get --regex '(^|/)20[0-9]{2}-.*[.]log$' --to backup

Of a path the last name is kept, of a glob what follows its last folder without a wildcard, of a regular expression the
whole path below the root. Run again, it brings what is missing or has changed, and goes on with large files that a lost gateway cut off.`
}

// Run gets the files.
func (c *getCommand) Run(p *process, client *clientCommand) error {
	return c.run(p, client, "got", func(ctx context.Context, s *netio.Swarm, o files.Options) (files.Summary, error) {
		return files.NewClient(s).Get(ctx, c.selection(c.Patterns), c.To, o)
	})
}

// putCommand is `shoal client put`.
type putCommand struct {
	Paths []string `arg:"" name:"path" help:"Files and folders: paths or patterns."`
	To    string   `help:"The folder below the gateway's root to put them into; it is made if need be." required:"" placeholder:"REMOTE-DIR"`
	transferFlags
}

// Help is what --help adds.
func (c *putCommand) Help() string {
	return `Examples:
  shoal client put report.pdf photos --to inbox     # inbox/report.pdf, inbox/photos and everything below
  shoal client put site/ --to www --delete          # what is in site goes right into www, what else is there is removed
  shoal client put '*.csv' --to . --existing update

Patterns and exclusions are taken below the current folder; those that begin with / are absolute. A symbolic link is kept
where it stays below the folder that was named.`
}

// Run puts the files.
func (c *putCommand) Run(p *process, client *clientCommand) error {
	groups, err := putGroups(c.Paths, c.Regex)
	if err != nil {
		return err
	}
	if c.Delete && len(groups) > 1 {
		return usage("--delete: the paths have to be below one folder, or one would remove what another brings; put them one by one")
	}
	return c.run(p, client, "put", func(ctx context.Context, s *netio.Swarm, o files.Options) (files.Summary, error) {
		from := make([]files.Folder, len(groups))
		for i, g := range groups {
			from[i] = files.Folder{Dir: g.dir, Selection: c.selection(g.patterns)}
			from[i].Exclude = excludedBelow(g.dir, c.Exclude, c.Regex)
		}
		return files.NewClient(s).PutFolders(ctx, from, c.To, o)
	})
}

// putGroup is what is put from below one folder.
type putGroup struct {
	dir      string
	patterns []string
}

// putGroups sorts paths by the folder that they are below: the current one, or the folder of a path that leads out of it.
func putGroups(paths []string, regex bool) ([]putGroup, error) {
	var groups []putGroup
	add := func(dir, pattern string) {
		if n := len(groups); n > 0 && groups[n-1].dir == dir {
			groups[n-1].patterns = append(groups[n-1].patterns, pattern)
			return
		}
		groups = append(groups, putGroup{dir, []string{pattern}})
	}
	for _, path := range paths {
		clean := filepath.ToSlash(filepath.Clean(path))
		switch {
		case path == "":
			return nil, usage("an empty path")
		case regex || !filepath.IsAbs(path) && clean != ".." && !strings.HasPrefix(clean, "../"):
			add(".", path)
		case clean == "/" || clean == ".." || strings.HasSuffix(clean, "/.."):
			add(clean, ".")
		default:
			dir, pattern := outside(clean)
			if strings.HasSuffix(path, "/") {
				pattern += "/"
			}
			add(dir, pattern)
		}
	}
	return groups, nil
}

// excludedBelow returns exclusions as they are below a folder: an absolute one is cut as the path of the folder was.
func excludedBelow(dir string, exclude []string, regex bool) []string {
	if regex {
		return exclude
	}
	below := make([]string, len(exclude))
	for i, pattern := range exclude {
		below[i] = pattern
		if rest, ok := strings.CutPrefix(pattern, strings.TrimSuffix(dir, "/")+"/"); ok && filepath.IsAbs(dir) {
			below[i] = "./" + rest // there, and nowhere else
		}
	}
	return below
}

// outside cuts a path at the last folder before a wildcard, or before its last name.
func outside(path string) (dir, pattern string) {
	end := len(path)
	if _, err := os.Lstat(path); err != nil {
		if i := strings.IndexAny(path, `*?[\`); i >= 0 {
			end = i
		}
	}
	cut := strings.LastIndexByte(path[:end], '/')
	if cut == 0 {
		return "/", path[1:]
	}
	return path[:cut], path[cut+1:]
}

type transferFunc func(ctx context.Context, s *netio.Swarm, o files.Options) (files.Summary, error)

// run runs a transfer and reports it.
func (f *transferFlags) run(p *process, client *clientCommand, verb string, do transferFunc) error {
	o, err := f.options(client)
	if err != nil {
		return err
	}
	verbose := client.Verbose
	// A process that lives for one transfer and keeps some megabytes has better things to do than to collect garbage.
	debug.SetGCPercent(400)
	return client.session(p, 0, func(ctx context.Context, s *netio.Swarm) error {
		report := newFilesReport(p, client, f.Output, verbose || f.DryRun)
		o.Each, o.Progress = report.each, report.progress.show
		began := time.Now()
		sum, err := do(ctx, s, o)
		sum.Elapsed = time.Since(began)
		return report.end(ctx, verb, sum, f.DryRun, err)
	})
}

// lsCommand is `shoal client ls`.
type lsCommand struct {
	Patterns []string `arg:"" optional:"" name:"pattern" help:"Files and folders below the gateway's root: paths or patterns. Default: all."`
	Long     bool     `short:"l" help:"Also modes, sizes and times."`
	Output   string   `help:"How it looks: ${enum}." enum:"text,jsonl" default:"text"`
	selectFlags
}

// Help is what --help adds.
func (c *lsCommand) Help() string {
	return `Examples:
  shoal client ls
  shoal client ls -l 'logs/**/*.gz'

A line has the path below the gateway's root; that of a folder ends in a slash, a symbolic link is followed by -> and
where it leads.`
}

// Run lists the files.
func (c *lsCommand) Run(p *process, client *clientCommand) error {
	patterns := c.Patterns
	if len(patterns) == 0 {
		patterns = []string{"."}
	}
	return client.session(p, 1, func(ctx context.Context, s *netio.Swarm) error {
		out := bufio.NewWriterSize(p.stdout, 64<<10)
		failed := false
		for e, err := range files.NewClient(s).List(ctx, c.selection(patterns)) {
			if err != nil {
				return errors.Join(out.Flush(), filesError(err))
			}
			if e.Kind == files.KindProblem {
				failed = true
				fmt.Fprintf(p.stderr, "shoal: %s\n", appendTextField(nil, e.Err.Error(), false))
				continue
			}
			if e.Path == "." {
				continue
			}
			if _, err := out.Write(c.line(&e)); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil || !failed {
			return err
		}
		return &exitError{status: exitFailed}
	})
}

func (c *lsCommand) line(e *files.Entry) []byte {
	if c.Output == "jsonl" {
		dst := appendJSONPath([]byte{'{'}, e.Path)
		dst = fmt.Appendf(dst, `,"kind":"%v","size":%d,"modified":"%s","mode":"%04o"`, e.Kind, e.Size,
			time.Unix(0, e.Modified).UTC().Format(time.RFC3339Nano), e.Mode)
		if e.Kind == files.KindLink {
			dst = appendJSONString(append(dst, `,"link":`...), strings.ToValidUTF8(e.Link, "\ufffd"))
		}
		return append(dst, "}\n"...)
	}
	var dst []byte
	if c.Long {
		dst = fmt.Appendf(dst, "%04o %12d %s ", e.Mode, e.Size, time.Unix(0, e.Modified).Format("2006-01-02 15:04:05"))
	}
	dst = appendTextField(dst, e.Path, false)
	switch e.Kind {
	case files.KindFolder:
		dst = append(dst, '/')
	case files.KindLink:
		dst = appendTextField(append(dst, " -> "...), e.Link, false)
	}
	return append(dst, '\n')
}
