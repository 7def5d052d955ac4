package pools

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// profilesVariable names a directory for CPU profiles.
const profilesVariable = "SHOAL_POOLS_PROFILES"

func TestMain(m *testing.M) {
	code := m.Run()
	printReport(os.Stdout)
	os.Exit(code)
}

// plan says how a scenario is measured.
type plan struct {
	rounds int
	round  time.Duration
}

// planFor follows -benchtime: a round is a fifth of it; with Nx there are N short ones.
func planFor(b *testing.B) plan {
	b.Helper()
	value := flag.Lookup("test.benchtime").Value.String()
	if times, ok := strings.CutSuffix(value, "x"); ok {
		rounds, err := strconv.Atoi(times)
		if err != nil {
			b.Fatal(err)
		}
		return plan{rounds, 10 * time.Millisecond}
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		b.Fatal(err)
	}
	return plan{7, d / 5}
}

func BenchmarkPools(b *testing.B) {
	for _, producers := range []int{1, 8} {
		for _, batch := range []int{1, batchSize} {
			for _, work := range []time.Duration{0, time.Microsecond} {
				s := scenario{producers, batch, work}
				b.Run(fmt.Sprintf("producers=%d/batch=%d/work=%v", producers, batch, work), func(b *testing.B) {
					contest(b, s, planFor(b))
				})
			}
		}
	}
}

// contestant is a pool in a contest.
type contestant struct {
	name      string
	producers []func(l *load)
	batches   int       // of each producer in a round
	perTask   []float64 // ns, of each round
}

// contest measures all pools in turn and reports the medians.
func contest(b *testing.B, s scenario, p plan) {
	spins := spinsFor(s.work)
	var all []*contestant
	for _, peer := range peers {
		o := peer.open()
		defer o.close()
		c := &contestant{name: peer.name}
		for range s.producers {
			c.producers = append(c.producers, o.producer())
		}
		c.calibrate(s, spins, p.round)
		all = append(all, c)
	}
	b.ResetTimer()
	for round := range p.rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			stop := profile(b, c, round)
			c.perTask = append(c.perTask, c.play(s, spins))
			stop()
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, c := range all {
		b.ReportMetric(median(c.perTask), c.name+"-ns/task")
	}
	addColumn(s, all)
}

// calibrate warms the pool up and finds how many batches make a round.
func (c *contestant) calibrate(s scenario, spins int, round time.Duration) {
	c.batches = max(1, 4096/(s.batch*s.producers))
	for _, part := range []time.Duration{10, 3, 1} {
		perTask := c.play(s, spins)
		c.batches = max(1, int(float64(round/part)/perTask)/(s.batch*s.producers))
	}
}

// play is one round; it returns nanoseconds a task.
func (c *contestant) play(s scenario, spins int) float64 {
	runtime.GC()
	tasks := c.batches * s.batch * s.producers
	return float64(submitAll(c.producers, newLoad(s.batch, spins, tasks), c.batches)) / float64(tasks)
}

// profile starts a CPU profile of a round, if they are asked for.
func profile(b *testing.B, c *contestant, round int) (stop func()) {
	b.Helper()
	dir := os.Getenv(profilesVariable)
	if dir == "" {
		return func() {}
	}
	name := strings.ReplaceAll(strings.TrimPrefix(b.Name(), "BenchmarkPools/"), "/", "-")
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.pprof", name, c.name, round)))
	if err != nil {
		b.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		b.Fatal(err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}
}

// TestEveryPool has each pool run a few tasks of every scenario, and each of them once.
func TestEveryPool(t *testing.T) {
	for _, peer := range peers {
		for _, batch := range []int{1, batchSize} {
			o := peer.open()
			producers := []func(l *load){o.producer(), o.producer(), o.producer()}
			l := newLoad(batch, 10, 3*50*batch)
			submitAll(producers, l, 50)
			o.close()
			if left := l.left.Load(); left != 0 {
				t.Errorf("%s, batches of %d: %d tasks are left", peer.name, batch, left)
			}
		}
	}
}

// TestPanics: where doc.go says that a panic does not end the process, tasks run after it as before.
func TestPanics(t *testing.T) {
	for _, peer := range peers {
		if !peer.survives {
			continue
		}
		o := peer.open()
		submit := o.producer()
		bad := newLoad(1, 0, 1)
		bad.end = nil // which cannot be closed
		submit(bad)
		submitAll([]func(l *load){submit}, newLoad(1, 0, 100), 100)
		o.close()
	}
}

func TestSpins(t *testing.T) {
	if spinsFor(0) != 0 {
		t.Error("no work spins")
	}
	n := spinsFor(time.Microsecond)
	start := time.Now()
	spin(1000 * n)
	if took := time.Since(start); took < 900*time.Microsecond {
		t.Errorf("a thousand microseconds took %v", took)
	}
}
