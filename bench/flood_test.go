package bench

import (
	"context"
	"sync"
	"sync/atomic"

	"shoal/bench/internal/workload"
	"shoal/netio"
)

// flood is a child process: a client that keeps many tasks queued at a gateway while it is told to.
type flood struct {
	sw      *netio.Swarm
	tasks   int
	keys    []byte
	stop    *atomic.Bool
	running sync.WaitGroup
	done    int
}

func newFlood(s spec) (*flood, error) {
	sw, err := netio.Dial(context.Background(), s.URL, &netio.SwarmConfig{Connections: 2})
	return &flood{sw: sw, tasks: s.Tasks, keys: workload.Keys(workload.ClientSeed)}, err
}

func (f *flood) address() string { return "" }
func (f *flood) close() error    { return f.sw.Close() }

// order starts and stops the flood; it returns how many tasks were answered when it has stopped.
func (f *flood) order(do string) int {
	switch do {
	case "start":
		f.stop, f.done = new(atomic.Bool), 0
		stop := f.stop
		f.running.Go(func() {
			for _, err := range f.sw.Map(context.Background(), tableName, keysUntil(f.keys, stop), &netio.MapOptions{Batch: 16, InFlight: f.tasks}) {
				if err == nil {
					f.done++
				}
			}
		})
	case "stop":
		f.stop.Store(true)
		f.running.Wait()
		return f.done
	}
	return 0
}
