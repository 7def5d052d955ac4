package bench

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// report collects rows for the tables that are printed after all benchmarks: the lines of go test are for programs.
var report struct {
	titles []string
	tables map[string][][]string
}

// row adds a row to a table; heads are the names of its columns.
func row(b *testing.B, title string, heads []string, cells ...string) {
	b.Helper()
	if report.tables == nil {
		report.tables = map[string][][]string{}
	}
	if report.tables[title] == nil {
		report.titles = append(report.titles, title)
		report.tables[title] = [][]string{heads}
	}
	for i, r := range report.tables[title] {
		if i > 0 && r[0] == cells[0] && !strings.HasPrefix(r[0], " ") { // the benchmark runs again
			report.tables[title] = report.tables[title][:i]
			break
		}
	}
	report.tables[title] = append(report.tables[title], cells)
}

func printReport(w io.Writer) {
	for _, title := range report.titles {
		rows := report.tables[title]
		widths := make([]int, len(rows[0]))
		for _, r := range rows {
			for i, c := range r {
				widths[i] = max(widths[i], len([]rune(c)))
			}
		}
		_, _ = fmt.Fprintf(w, "\n%s\n", title)
		for _, r := range rows {
			var line strings.Builder
			for i, c := range r {
				pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
				if i == 0 {
					line.WriteString(c + pad)
				} else {
					line.WriteString("  " + pad + c)
				}
			}
			_, _ = fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
		}
	}
}

// num formats a number with about three digits that count.
func num(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
