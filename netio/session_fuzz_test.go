package netio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shoal/proto"
)

// simulation runs a real swarm and a real gateway, in memory and on a clock of its own, beside a model of them.
type simulation struct {
	t       *testing.T
	swarm   *Swarm
	model   sessionModel
	gateway *Gateway
	ctx     context.Context // of what streams do
	stop    context.CancelFunc

	mu     sync.Mutex    // guards what follows, the model and the gateway
	wires  []*memoryWire // those that are not over, oldest first
	refuse bool          // no connection can be made
	held   map[int]Task
	where  map[int]simulated // where tasks are that were submitted
	silent bool              // the end: what happens is no concern of the model

	streams []*simulatedStream
	turn    int  // which of them is next
	known   bool // the gateway knew the lane when things had settled last
	laneAge int  // the age that the client's lane is of
}

type simulated struct {
	lane *swarmLane
	id   uint32
}

func newSimulation(t *testing.T, carries bool) *simulation {
	time.Sleep(time.Until(epoch) + time.Hour) // the bubble begins in the year 2000
	s := &simulation{t: t, held: map[int]Task{}, where: map[int]simulated{}}
	s.model.age, s.model.carries = 1, carries
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.startGateway()
	c := SwarmConfig{Connections: 1, GiveUp: 1000 * time.Hour}
	if carries {
		c.Wait = time.Hour
	}
	swarm, err := newSwarm("unix:///memory", &c)
	if err != nil {
		t.Fatal(err)
	}
	swarm.dial = s.dial
	s.swarm = swarm
	lane := swarm.lanes[0]
	swarm.running.Go(func() { lane.run(nil, proto.Welcome{}) })
	swarm.running.Go(swarm.keep)
	synctest.Wait()
	return s
}

func (s *simulation) startGateway() {
	g := NewGateway(GatewayConfig{Workers: 64, Window: 256, SessionTimeout: 2 * time.Minute})
	g.HandleTask("hold", func(t Task) {
		i := int(binary.LittleEndian.Uint32(t.Body()))
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.silent || s.gateway != g {
			t.Finish(nil, nil)
			return
		}
		s.model.run(i)
		s.held[i] = t
	})
	s.handleStreams(g)
	config, err := g.given.settle()
	if err != nil {
		s.t.Fatal(err)
	}
	g.mu.Lock()
	g.serve(config, nil)
	g.mu.Unlock()
	s.mu.Lock()
	s.gateway = g
	s.mu.Unlock()
}

func (s *simulation) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return nil, errors.New("refused")
	}
	g := s.gateway
	g.mu.Lock()
	stopped := g.state == gatewayStopped
	g.mu.Unlock()
	if stopped {
		return nil, errors.New("nobody listens")
	}
	w := newMemoryWire()
	s.wires = append(s.wires, w)
	g.take(w.gateway, false)
	return w.client, nil
}

// simulatedCaller is the sender and the sink of all tasks.
type simulatedCaller struct{ *simulation }

func (c simulatedCaller) sinkFor(*swarmLane) sink { return c }

func (c simulatedCaller) settled(*swarmLane) {}

func (c simulatedCaller) settle(s *slot, status Status, body []byte, _ int64, _ int, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return
	}
	c.model.over(s.index, status)
	if status == StatusOK && !bytes.Equal(body, s.body) {
		c.t.Errorf("task %d got the answer %x", s.index, body)
	}
}

// step does one operation, lets everything settle, and checks what the model says of it.
func (s *simulation) step(op byte) {
	arg := int(op >> 4)
	switch op & 0xf {
	case 0:
		s.streamStep(arg)
	case 1:
		s.submit(1+arg, RestartPolicy(1+arg%2))
	case 2:
		s.newest(func(w *memoryWire) { w.deliver(w.gateway, 1<<arg) })
	case 3:
		s.newest(func(w *memoryWire) { w.deliver(w.client, 1<<arg) })
	case 4:
		s.flow()
	case 5:
		s.newest((*memoryWire).cut)
	case 6:
		s.newest(func(w *memoryWire) { w.cutFor(w.client) })
	case 7:
		s.newest(func(w *memoryWire) { w.cutFor(w.gateway) })
	case 8:
		s.answer(arg)
	case 9:
		s.cancel(arg)
	case 10:
		time.Sleep(time.Duration(1+arg) * 100 * time.Millisecond)
	case 11:
		time.Sleep(time.Duration(1+arg) * 2 * time.Second)
	case 12:
		s.expire(arg%2 == 0)
	case 13:
		s.kill()
	case 14:
		s.drain(arg)
	case 15: // bytes of a connection that was given up
		if wires := s.allWires(); len(wires) > 0 {
			w := wires[arg%len(wires)]
			w.deliver(w.gateway, 1<<20)
		}
	}
	s.settle()
}

func (s *simulation) newest(do func(w *memoryWire)) {
	if wires := s.allWires(); len(wires) > 0 {
		do(wires[len(wires)-1])
	}
}

func (s *simulation) allWires() []*memoryWire {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wires)
}

// settle waits until nothing moves, and ends an age if the gateway has forgotten the lane.
func (s *simulation) settle() {
	synctest.Wait()
	s.gateway.mu.Lock()
	known := len(s.gateway.sessions) > 0
	s.gateway.mu.Unlock()
	if s.known && !known { // it stayed away for too long
		s.forget()
	}
	connected := s.connected()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
	if connected {
		s.laneAge = s.model.age
	}
	s.wires = slices.DeleteFunc(s.wires, (*memoryWire).over)
	for _, problem := range s.model.broken {
		s.t.Error(problem)
	}
	s.model.broken = nil
}

func (s *simulation) submit(n int, p RestartPolicy) {
	lane := s.swarm.lanes[0]
	var tasks []outgoing
	s.mu.Lock()
	for range n {
		i := s.model.submit(p)
		tasks = append(tasks, outgoing{i, binary.LittleEndian.AppendUint32(nil, uint32(i))})
	}
	s.mu.Unlock()
	taken, last, err := lane.submit(&handing{request: &request{name: "hold", policy: p}, from: simulatedCaller{s}, tasks: tasks, together: n}, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model.tasks = s.model.tasks[:len(s.model.tasks)-n+taken]; taken == 0 || err != nil { // no room: they were never handed over
		return
	}
	if n == 1 {
		s.where[tasks[0].index] = simulated{lane, last}
	}
}

// flow lets everything through, both ways, until nothing is on its way.
func (s *simulation) flow() {
	for moved := 1; moved > 0; synctest.Wait() {
		moved = 0
		s.newest(func(w *memoryWire) { moved = w.deliver(w.gateway, 1<<20) + w.deliver(w.client, 1<<20) })
	}
}

func (s *simulation) answer(n int) {
	s.mu.Lock()
	indexes := []int{}
	for i := range s.held {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	if len(indexes) == 0 {
		s.mu.Unlock()
		return
	}
	i := indexes[n%len(indexes)]
	t := s.held[i]
	delete(s.held, i)
	s.model.finish(i)
	s.mu.Unlock()
	t.Finish(t.Body(), nil)
}

func (s *simulation) cancel(n int) {
	s.mu.Lock()
	if len(s.model.tasks) == 0 {
		s.mu.Unlock()
		return
	}
	i := n % len(s.model.tasks)
	at, ok := s.where[i]
	s.mu.Unlock()
	if ok && at.lane.abandon(at.id, simulatedCaller{s}, i) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.model.tasks[i].cancelled = true
		s.model.over(i, StatusCanceled)
	}
}

// finish lets everything through until every task has its status.
func (s *simulation) finish() {
	for range 30 {
		time.Sleep(3 * time.Second)
		s.flow()
		for range s.model.tasks {
			s.answer(0)
		}
		s.endStreams(false)
		s.flow()
		s.settle()
	}
	for _, x := range s.streams {
		if !x.over {
			s.t.Errorf("a stream never ended: %+v", x)
		}
	}
	for i, t := range s.model.tasks {
		if t.state != taskStateOver {
			s.t.Errorf("task %d never got a status: %+v", i, t)
		}
	}
	l := s.swarm.lanes[0]
	l.mu.Lock()
	used, kept := len(l.slots)-len(l.free), l.out.Unacknowledged()
	l.mu.Unlock()
	if used != 0 || l.inflight.Load() != 0 {
		s.t.Errorf("%d slots are in use at the end", used)
	}
	if kept != 0 {
		s.t.Errorf("%d bytes are kept at the end", kept)
	}
	if stats := s.gateway.Stats(); stats.Handlers != 1 || stats.Running+stats.Held+stats.Queued+stats.Streams != 0 {
		s.t.Errorf("at the end the gateway has %+v", stats)
	}
}

func (s *simulation) close() {
	s.mu.Lock()
	s.silent = true
	s.mu.Unlock()
	s.refused(true)
	for _, w := range s.allWires() {
		w.cut()
	}
	_ = s.swarm.Close()
	s.forget()
	_ = s.gateway.Close()
	s.stop()
}

func simulate(t *testing.T, carries bool, ops []byte) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, carries)
		defer s.close()
		for _, op := range ops {
			if s.step(op); t.Failed() {
				return
			}
		}
		s.finish()
	})
}

// FuzzSession runs operations against a swarm, a gateway and the model; each byte is one.
func FuzzSession(f *testing.F) {
	f.Add(false, []byte{0x0a, 0x04, 0x01, 0x04, 0x08, 0x04})
	f.Add(false, []byte("$A070\xfb\xfb\xfb\xfb0")) // away for so long that it is forgotten
	f.Add(true, []byte{0x0a, 0x04, 0x00, 0x30, 0x50, 0x04, 0x80, 0xa0, 0x05, 0x0a, 0x04, 0xc0, 0xd0, 0x04})
	f.Fuzz(func(t *testing.T, carries bool, ops []byte) {
		if len(ops) <= 200 {
			simulate(t, carries, ops)
		}
	})
}

// TestSessionModel is a short walk through what FuzzSession looks for.
func TestSessionModel(t *testing.T) {
	walks := 150
	if *soak {
		walks = 5_000
	}
	first := seed(t)
	for i := range walks {
		rng := rand.New(rand.NewPCG(first, uint64(i)))
		ops := make([]byte, 10+rng.IntN(60))
		for j := range ops {
			ops[j] = byte(rng.Uint32())
			if kind := rng.IntN(10); i%3 == 0 && kind < 7 { // mostly of streams, and of what brings them on
				ops[j] &= 0xf0
				if kind < 2 {
					ops[j] |= 4
				}
			}
		}
		if simulate(t, i%2 == 0, ops); t.Failed() {
			t.Fatalf("walk %d: carries %v, ops %#v", i, i%2 == 0, ops)
		}
	}
}
