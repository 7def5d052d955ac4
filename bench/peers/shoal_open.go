package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
	"shoal/netio"
)

var errOvertaken = errors.New("an answer came after too many others")

// mapOffer is one Map that is fed by a schedule. It has one feeder, and so one pacer, for all connections.
type mapOffer struct {
	*shoalMap
	pacer *pacer
	err   error // the feeder's
}

type itemDue struct {
	index int
	due   time.Duration
}

// spareDues is how many times more items than are in flight may overtake one.
const spareDues = 4

func (m *shoalMap) offer(o offer) (work, error) {
	inFlight := m.load.slots() * m.load.Conns * m.load.Batch
	if m.dues == nil {
		m.dues = make([]itemDue, spareDues*inFlight)
	}
	start := time.Now()
	pacer, err := newPacer(o, m.load, start, 0, 1)
	if err != nil {
		return work{}, err
	}
	defer pacer.close()
	fed := &mapOffer{shoalMap: m, pacer: pacer}
	w := work{latencies: &latency.Histogram{}}
	options := netio.MapOptions{Batch: m.load.Batch, InFlight: inFlight}
	now, again := time.Duration(0), 0
	for r, err := range m.swarm.Map(context.Background(), m.name, fed.items(), &options) {
		if err == nil {
			err = workload.CheckAnswer(r.Body, 1)
		}
		item := fed.dues[r.Index%len(fed.dues)]
		if err == nil && item.index != r.Index {
			err = errOvertaken
		}
		if err != nil {
			return work{}, err
		}
		if again == 0 {
			now = time.Since(start)
		}
		if again++; !r.More || again == clockEvery {
			again = 0
		}
		w.latencies.Add(now - item.due)
	}
	w.tasks = w.latencies.N
	missed := &latency.Histogram{}
	pacer.countRest(missed)
	for range m.load.Batch {
		w.latencies.Merge(missed)
	}
	w.offered = w.latencies.N
	return w, fed.err
}

// items yields keys when they are due: of a batch all together.
func (m *mapOffer) items() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		c, index := workload.NewCursor(m.keys, 0), 0
		m.err = m.pacer.run(func(due time.Duration) error {
			for range m.load.Batch {
				m.dues[index%len(m.dues)] = itemDue{index, due}
				index++
				if !yield(c.Next()) {
					return errStopped
				}
			}
			return nil
		}, func() error { return nil })
	}
}
