package netio

import (
	"context"
	"net"
	"testing/synctest"
	"time"
)

// The ends of an age in the simulation: a lane is forgotten, a gateway is killed, or it drains.

// expire keeps the client away until the gateway has forgotten it; the connection is cut for both, or stays half open.
func (s *simulation) expire(clean bool) {
	for _, w := range s.allWires() {
		w.cutFor(w.gateway)
		if clean {
			w.cutFor(w.client)
		}
	}
	s.refused(true)
	time.Sleep(3 * time.Minute)
	synctest.Wait()
	s.forget()
	s.refused(false)
}

func (s *simulation) refused(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = on
}

// forget ends an age of the model and lets go of what the gateway held.
func (s *simulation) forget() {
	s.mu.Lock()
	held := s.held
	s.held = map[int]Task{}
	s.model.forget()
	s.known = false
	s.mu.Unlock()
	for _, t := range held {
		t.Finish(nil, nil)
	}
}

// kill puts another gateway in the place of this one, which says nothing any more.
func (s *simulation) kill() {
	for _, w := range s.allWires() {
		w.cut()
	}
	old := s.gateway
	s.startGateway()
	s.forget()
	_ = old.Close()
}

// drain ends the gateway as it should be ended: what runs is answered, and everything arrives.
func (s *simulation) drain(n int) {
	if n%4 == 3 {
		s.cutDrainShort()
		return
	}
	old := s.gateway
	s.mu.Lock()
	s.model.drained = true
	s.mu.Unlock()
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	go func() { ended <- old.Shutdown(ctx) }()
	s.submit(1+n, RestartReport) // what crosses the drain on its way
	synctest.Wait()
	for {
		s.refused(true)
		s.flow()
		s.answer(0)
		s.endStreams(false)
		time.Sleep(time.Second)
		s.refused(false)
		select {
		case err := <-ended:
			if err != nil {
				s.t.Error(err)
			}
			heard := s.connected()
			s.submit(1+n, RestartReport) // what the goodbye crosses on its way
			s.flow()
			s.endStreams(heard)
			s.startGateway()
			s.mu.Lock()
			for i, t := range s.model.tasks {
				if t.state == taskStateRunning || t.state == taskStateFinished {
					s.t.Errorf("task %d was not answered by a clean drain: %+v", i, t)
				}
				if heard && t.submitted == s.model.age {
					s.model.tasks[i].submitted++ // a clean end of an age loses nothing
				}
			}
			s.mu.Unlock()
			s.forget()
			return
		default:
		}
		time.Sleep(3 * time.Second) // a client without a connection comes back
	}
}

// cutDrainShort ends the gateway while tasks still run.
func (s *simulation) cutDrainShort() {
	s.mu.Lock()
	s.model.drained = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ended := make(chan struct{})
	old := s.gateway
	go func() { _ = old.Shutdown(ctx); close(ended) }()
	time.Sleep(10 * time.Second)
	s.refused(true)
	s.startGateway()
	s.forget()
	s.flow() // the goodbye arrives
	<-ended
	s.refused(false)
}

// connected reports whether the client has a connection, and both ends of it work.
func (s *simulation) connected() (yes bool) {
	l := s.swarm.lanes[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	s.newest(func(w *memoryWire) {
		w.mu.Lock()
		defer w.mu.Unlock()
		yes = l.link != nil && l.link.carrier.(*connCarrier).conn == net.Conn(w.client) && !w.client.broken && !w.gateway.broken
	})
	return yes
}
