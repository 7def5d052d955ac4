package netio

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// alarm is what a timer tells.
type alarm struct {
	node  timerNode
	when  int64
	fired atomic.Int32
	tell  func(a *alarm)
}

func (a *alarm) expire() {
	a.fired.Add(1)
	if a.tell != nil {
		a.tell(a)
	}
}

func TestTimersFireInOrder(t *testing.T) {
	var ts timers
	fired := make(chan *alarm, 1000)
	start := monotonic()
	for range 1000 {
		a := &alarm{when: start + int64(20*time.Millisecond) + rand.Int64N(int64(20*time.Millisecond)), tell: func(a *alarm) {
			if monotonic() < a.when {
				t.Error("too early")
			}
			fired <- a
		}}
		ts.add(&a.node, a.when, a)
	}
	allAdded := monotonic() < start+int64(20*time.Millisecond) // otherwise the order may be another
	last := int64(0)
	for range 1000 {
		a := within(t, "all fire", fired)
		if a.when < last && allAdded {
			t.Errorf("%v after %v", time.Duration(a.when-start), time.Duration(last-start))
		}
		last = a.when
	}
	eventually(t, "the heap is given back", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		return ts.heap == nil && ts.armed == 0
	})
}

func TestTimersRemove(t *testing.T) {
	var ts timers
	rng := rand.New(rand.NewPCG(1, 2))
	var alarms []*alarm
	for range 1000 {
		a := &alarm{when: monotonic() + int64(time.Hour) + rng.Int64N(1e9)}
		ts.add(&a.node, a.when, a)
		alarms = append(alarms, a)
	}
	rng.Shuffle(len(alarms), func(i, j int) { alarms[i], alarms[j] = alarms[j], alarms[i] })
	for i, a := range alarms {
		if !ts.remove(&a.node) || ts.remove(&a.node) {
			t.Fatal("remove does not say that it did")
		}
		if i%100 == 0 {
			checkHeap(t, &ts)
		}
	}
	done := make(chan *alarm, 2)
	tell := func(a *alarm) { done <- a }
	first, later := &alarm{tell: tell}, &alarm{tell: tell}
	ts.add(&later.node, monotonic()+int64(20*time.Millisecond), later)
	ts.add(&first.node, monotonic()-int64(time.Hour), first) // long over, and added last
	if within(t, "one fires", done) != first || within(t, "two fire", done) != later {
		t.Error("the first is not first")
	}
	if ts.remove(&first.node) {
		t.Error("removed what has fired")
	}
}

// checkHeap checks that no entry is before its parent and that nodes know where they are.
func checkHeap(t *testing.T, ts *timers) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for i, e := range ts.heap {
		if i > 0 && e.when < ts.heap[(i-1)/heapArity].when {
			t.Fatalf("entry %d is before its parent", i)
		}
		if e.node.pos != i+1 {
			t.Fatalf("entry %d thinks that it is %d", i, e.node.pos-1)
		}
	}
}

// Every alarm is either removed or fires, once; 100k of them, from many goroutines.
func TestTimersManyAtOnce(t *testing.T) {
	const goroutines, each = 10, 10_000
	var ts timers
	var left sync.WaitGroup
	left.Add(goroutines * each)
	var adders sync.WaitGroup
	for i := range goroutines {
		adders.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			alarms := make([]alarm, each)
			for j := range alarms {
				a := &alarms[j]
				a.tell = func(a *alarm) {
					if a.fired.Load() != 1 {
						t.Error("fired twice")
					}
					left.Done()
				}
				ts.add(&a.node, monotonic()+rng.Int64N(int64(50*time.Millisecond)), a)
				if k := rng.IntN(j + 1); rng.IntN(2) == 0 && ts.remove(&alarms[k].node) {
					left.Done()
				}
			}
		})
	}
	adders.Wait()
	all := make(chan struct{})
	go func() { left.Wait(); close(all) }()
	within(t, "all have ended", all)
}
