package pools

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// column is what one scenario came to.
type column struct {
	scenario scenario
	all      []*contestant
}

// columns are collected for the tables that are printed after the benchmark: the lines of go test are for programs.
var columns []column

// addColumn replaces what the same scenario came to before.
func addColumn(s scenario, all []*contestant) {
	columns = slices.DeleteFunc(columns, func(c column) bool { return c.scenario == s })
	columns = append(columns, column{s, all})
}

func (s scenario) String() string {
	form := "alone"
	if s.batch > 1 {
		form = fmt.Sprintf("by %d", s.batch)
	}
	work := "trivial"
	if s.work > 0 {
		work = s.work.String()
	}
	return fmt.Sprintf("%s, %s, %d prod.", work, form, s.producers)
}

// printReport writes two tables in markdown: nanoseconds, and how many times those of shoal.
func printReport(w io.Writer) {
	if len(columns) == 0 {
		return
	}
	cells := func(of func(c *contestant, shoal *contestant) string) {
		heads, rule := "|", "| ---"
		for _, c := range columns {
			heads += " | " + c.scenario.String()
			rule += " | ---:"
		}
		fmt.Fprintf(w, "%s |\n%s |\n", heads, rule)
		for i, p := range peers {
			line := "| " + p.name
			for _, c := range columns {
				line += " | " + of(c.all[i], c.all[0])
			}
			fmt.Fprintf(w, "%s |\n", strings.TrimSpace(line))
		}
	}
	fmt.Fprintf(w, "\nns a task, from the first submit until the last task is done; %d at once at most\n\n", workers)
	cells(func(c, _ *contestant) string { return fmt.Sprintf("%.0f", median(c.perTask)) })
	fmt.Fprintf(w, "\nhow many times that of %s\n\n", shoalName)
	cells(func(c, shoal *contestant) string {
		if c == shoal {
			return "–"
		}
		ratios := make([]float64, len(c.perTask))
		for i := range ratios {
			ratios[i] = c.perTask[i] / shoal.perTask[i]
		}
		return fmt.Sprintf("%.2f", median(ratios))
	})
}

// median returns the middle value; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
