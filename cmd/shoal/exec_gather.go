package main

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"shoal/netio/target"
)

// gatherer holds results back until those of other targets that are equal have come too: --gather. A group is complete when no
// target has joined it for a while, or no more results come; a target that gives the same answer later makes another group.
// Not safe for concurrent use.
type gatherer struct {
	wait   time.Duration // without a new target
	groups map[[sha256.Size]byte]*gathered
	bytes  int // of the outputs held
}

// gathered is equal results.
type gathered struct {
	first *execResult
	hosts []string
	last  time.Time // when a target joined
}

// maxGathered bounds the output that is held back; beyond it what there is of each group is shown.
const maxGathered = 64 << 20

func newGatherer(wait time.Duration) *gatherer {
	return &gatherer{wait: wait, groups: map[[sha256.Size]byte]*gathered{}}
}

// add takes a result in, and keeps it.
func (g *gatherer) add(r *execResult, now time.Time) {
	key := answerKey(r)
	group := g.groups[key]
	if group == nil {
		group = &gathered{first: r}
		g.groups[key] = group
		g.bytes += len(r.Record.Stdout) + len(r.Record.Stderr)
	}
	group.hosts = append(group.hosts, r.Host)
	group.last = now
}

// answerKey is the same for results that belong together.
func answerKey(r *execResult) (key [sha256.Size]byte) {
	h := sha256.New()
	for _, text := range []string{r.Command, r.Status, r.Error, string(r.Record.Stdout), string(r.Record.Stderr)} {
		fmt.Fprintf(h, "%d ", len(text)) // so that no text runs into the next
		h.Write([]byte(text))
	}
	h.Sum(key[:0])
	return key
}

// complete yields the groups that are complete, and forgets them; with all it yields what there is. The largest comes first.
func (g *gatherer) complete(now time.Time, all bool) iter.Seq[*gathered] {
	all = all || g.bytes > maxGathered
	var due []*gathered
	for key, group := range g.groups {
		if all || now.Sub(group.last) >= g.wait {
			due = append(due, group)
			g.bytes -= len(group.first.Record.Stdout) + len(group.first.Record.Stderr)
			delete(g.groups, key)
		}
	}
	slices.SortFunc(due, func(a, b *gathered) int {
		if len(a.hosts) != len(b.hosts) {
			return len(b.hosts) - len(a.hosts)
		}
		return strings.Compare(a.first.Host, b.first.Host)
	})
	return slices.Values(due)
}

// fold names hosts shortly.
func fold(hosts []string) string {
	return string(appendTextField(nil, target.Of(slices.Values(hosts)).String(), false))
}

const rule = "---------------"

// appendGroup writes what one output of a group holds, below the names of its targets.
func appendGroup(dst []byte, g *gathered, output []byte, gap int, dropped int64) []byte {
	if len(output) == 0 {
		return dst
	}
	dst = fmt.Appendf(dst, "%s\n%s (%d)\n%s\n", rule, fold(g.hosts), len(g.hosts), rule)
	if dropped == 0 {
		return appendPlainLines(dst, output)
	}
	dst = appendPlainLines(dst, output[:gap])
	dst = fmt.Appendf(dst, "… %d bytes were dropped here …\n", dropped)
	return appendPlainLines(dst, output[gap:])
}

// writeGroup adds a group; an answer without output is told by the list of failures alone.
func (w *execWriter) writeGroup(g *gathered) error {
	rec := g.first.Record
	w.buf = appendGroup(w.buf, g, rec.Stdout, rec.StdoutGap, rec.StdoutDropped)
	w.errBuf = appendGroup(w.errBuf, g, rec.Stderr, rec.StderrGap, rec.StderrDropped)
	return w.flush()
}
