package netio

import (
	"errors"
	"fmt"
	"iter"
	"sync"

	"shoal/proto"
)

// feeder hands the items of a Map to lanes. One goroutine pulls them; it may be inside the caller's iterator for as long
// as that likes, so another one hands them over. That takes all that has been pulled meanwhile in one step, so that fast
// input costs little for each item, and slow input is not delayed.
type feeder struct {
	m     *mapRun
	room  chan struct{} // one slot: results were yielded, or what was pulled is being handed over
	offer chan struct{} // one slot: something is ready, or no more items come

	mu       sync.Mutex // guards what follows
	pulled   int64
	ready    []outgoing // pulled, and not yet on their way to a lane
	bytes    int        // of their bodies
	spare    []outgoing // memory for the next that are ready
	handing  bool       // hand has something to do, and knows it
	refused  bool       // no more items are wanted
	ended    bool       // no more items come
	panicked any        // what the iterator of the items panicked with
}

// mostReady bounds the items that are pulled and not on their way yet, as mostBytesTogether does their bytes.
const mostReady = 1024

// pulledAll returns how many items were pulled, and whether that is all.
func (f *feeder) pulledAll() (n int64, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulled, f.ended
}

// feed pulls the items, and makes them ready a frame at a time.
func (f *feeder) feed(items iter.Seq[[]byte]) {
	f.m.working.Go(f.hand)
	defer func() { // also where the iterator panics, or ends its goroutine
		v := recover()
		f.mu.Lock()
		f.panicked, f.ended = v, true
		f.mu.Unlock()
		wake(f.offer)
		wake(f.m.wake)
	}()
	index := 0
	frame := make([]outgoing, 0, min(f.m.options.Batch, 4096))
	for item := range items {
		frame = append(frame, outgoing{index, item})
		index++
		if len(frame) == f.m.options.Batch {
			if !f.add(frame) {
				frame = frame[:0]
				break
			}
			frame = frame[:0]
		}
		if f.m.ctx.Err() != nil {
			break
		}
	}
	if len(frame) > 0 {
		f.add(frame)
	}
}

// add makes items ready once so many more may be in flight. False means that no more are wanted.
func (f *feeder) add(frame []outgoing) bool {
	size := 0
	for i := range frame {
		size += len(frame[i].body)
	}
	for {
		f.mu.Lock()
		switch {
		case f.refused || f.m.ctx.Err() != nil:
			f.mu.Unlock()
			return false
		case f.fits(len(frame), size):
			f.pulled += int64(len(frame))
			f.ready = append(f.ready, frame...)
			f.bytes += size
			if !f.handing {
				f.handing = true
				wake(f.offer)
			}
			f.mu.Unlock()
			return true
		}
		f.mu.Unlock()
		select {
		case <-f.room:
		case <-f.m.ctx.Done():
		}
	}
}

// fits reports whether n more items may be ready. The caller holds mu.
func (f *feeder) fits(n, size int) bool {
	m := f.m
	under, most := f.pulled-m.yielded.Load()+int64(n), int64(m.options.InFlight)
	if m.options.Ordered { // who waits for one slow item sends others meanwhile
		if f.pulled-m.answered.Load()+int64(n) > most {
			return false
		}
		most = max(most, 65536*int64(len(m.sinks)))
	}
	if under > most || m.backlog.full() {
		return false
	}
	return len(f.ready) == 0 || len(f.ready)+n <= mostReady && f.bytes+size <= mostBytesTogether
}

// hand is the goroutine that hands over what is ready, until no more items come.
func (f *feeder) hand() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for len(f.ready) > 0 {
			ready := f.ready
			f.ready, f.spare, f.bytes = f.spare, nil, 0
			f.mu.Unlock()
			wake(f.room)
			if f.m.retries != nil {
				f.m.swarm.retries.earn(len(ready))
			}
			wanted := f.m.submit(ready)
			clear(ready)
			f.mu.Lock()
			f.spare = ready[:0]
			f.refused = f.refused || !wanted
		}
		f.handing = false
		wake(f.room)
		if f.ended {
			return
		}
		f.mu.Unlock()
		<-f.offer
		f.mu.Lock()
	}
}

// submit hands tasks to lanes; those that no lane takes end here. False means that no more items are wanted.
func (m *mapRun) submit(tasks []outgoing) bool {
	if m.calling != nil {
		for _, t := range tasks {
			m.call(t)
		}
		return m.ctx.Err() == nil
	}
	h := handing{request: m.request(), from: m, together: m.options.Batch, here: true}
	if m.options.Timeout > 0 {
		h.renew = m.request // it counts from when a task is sent, and not while it waits for room
	}
	for len(tasks) > 0 {
		h.tasks = tasks
		if m.options.Key != nil {
			fields, err := m.keyed(tasks[0])
			if err != nil {
				m.add(mapResult{Result{Index: tasks[0].index}, err})
				tasks = tasks[1:]
				continue
			}
			h.tasks, h.here, h.together = tasks[:1], len(tasks) == 1, 1
			h.renew = func() *request { return m.requestWith(fields) }
			h.request = h.renew()
		}
		_, n, _, err := m.swarm.submit(m.ctx, &h)
		if errors.Is(err, ErrTooLarge) { // it does not stop the others
			m.add(mapResult{Result{Index: tasks[0].index, Attempt: m.retries.tried(tasks[0].index)}, err})
			tasks = tasks[1:]
			continue
		}
		if err != nil {
			return m.undelivered(tasks, err)
		}
		if m.ctx.Err() != nil {
			m.cancelHanded() // whoever cancels may have been here before
		}
		tasks = tasks[n:]
	}
	return true
}

// keyed returns the fields of the frame of a task that has a key.
func (m *mapRun) keyed(t outgoing) (string, error) {
	key := m.options.Key(t.index, int(m.retries.tried(t.index)))
	if len(key) == 0 || len(key) > proto.IdempotencyKeyLimit {
		return "", fmt.Errorf("%w: an idempotency key has 1 to %d bytes, this one %d", ErrBadConfig, proto.IdempotencyKeyLimit, len(key))
	}
	fields := withKey(m.fields, key)
	if len(fields)-2 > proto.FieldsLimit {
		return "", fmt.Errorf("metadata with an idempotency key: %w of %d bytes", ErrTooLarge, proto.FieldsLimit)
	}
	return fields, nil
}

// request returns what tasks have in common that are sent now.
func (m *mapRun) request() *request { return m.requestWith(m.fields) }

func (m *mapRun) requestWith(fields string) *request {
	r := &request{name: m.name, deadline: deadlineOf(m.ctx), fields: fields, keyed: m.options.Key != nil, policy: m.options.OnRestart}
	if m.options.Timeout > 0 {
		if d := deadlineIn(m.options.Timeout); r.deadline == 0 || d < r.deadline {
			r.deadline = d
		}
	}
	return r
}

// undelivered ends tasks that were not handed over. True means that some of them wait to be tried again.
func (m *mapRun) undelivered(tasks []outgoing, err error) (again bool) {
	for _, t := range tasks {
		last := mapResult{Result{Index: t.index, Attempt: m.retries.tried(t.index)}, err}
		if m.retries.again(t, last) {
			again = true
		} else {
			m.add(last)
		}
	}
	return again
}
