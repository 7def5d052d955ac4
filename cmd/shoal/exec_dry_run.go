package main

import (
	"fmt"
	"io"
	"strings"

	"shoal/netio/rollout"
	"shoal/netio/target"
)

// writeDryRun shows what would run where: --dry-run of exec.
func writeDryRun(w io.Writer, set target.Set, c rollout.Config, via, command string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s would run via %s on %s", appendTextField(nil, command, false), via, counted(int(set.Len()), "target"))
	if c.Fanout > 0 {
		fmt.Fprintf(&b, ", at most %d at once", c.Fanout)
	}
	if len(c.Canary) == 0 {
		fmt.Fprintf(&b, ":\n%s\n", set)
		_, err := io.WriteString(w, b.String())
		return err
	}
	b.WriteString(":\n")
	left := set
	for wave := 1; left.Len() > 0; wave++ {
		now := left
		if wave <= len(c.Canary) {
			size := min(left.Len(), max(1, c.Canary[wave-1].Of(set.Len())))
			hosts := func(yield func(string) bool) {
				for i := range size {
					if !yield(left.At(i)) {
						return
					}
				}
			}
			now = target.Of(hosts)
		}
		fmt.Fprintf(&b, "wave %d, %s: %s\n", wave, counted(int(now.Len()), "target"), now)
		left = left.Minus(now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
