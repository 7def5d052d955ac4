package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cores is GOMAXPROCS of every process here.
const cores = 2

// TestMain also is the main function of the child processes: the test binary runs itself again.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(cores)
	if os.Getenv(roleVariable) != "" {
		if err := runChild(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: child process:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	printReport(os.Stdout)
	os.Exit(code)
}

// plan says how often and how long a benchmark measures.
type plan struct {
	rounds int
	round  time.Duration
	brief  bool // only to see that it works: -benchtime=1x or -short
}

// planFor makes the plan from -benchtime: a duration is how long all rounds together last at least, Nx is N rounds.
func planFor(b *testing.B) plan {
	const rounds, round = 5, 700 * time.Millisecond
	value := flag.Lookup("test.benchtime").Value.String()
	if count, ok := strings.CutSuffix(value, "x"); ok {
		if n, err := strconv.Atoi(count); err == nil && n > 1 && b.N == n && !testing.Short() {
			return plan{rounds: n, round: round}
		}
		return plan{rounds: 1, round: 60 * time.Millisecond, brief: true}
	}
	if testing.Short() {
		return plan{rounds: 1, round: 60 * time.Millisecond, brief: true}
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return plan{rounds: rounds, round: round}
	}
	return plan{rounds: max(rounds, int(d/round)+1), round: round}
}
