package netio

import (
	"context"

	"shoal/proto"
)

// RestartPolicy says what becomes of tasks whose outcome is unknown, since the gateway that had them is gone or has
// forgotten them. Those that it certainly never had are sent to its successor under every policy.
type RestartPolicy int

const (
	// RestartDefault is that of the swarm; for the swarm it is RestartReport.
	RestartDefault RestartPolicy = iota
	// RestartReport ends them as lost.
	RestartReport
	// RestartRetry sends them to the gateway's next life: they run at least once.
	RestartRetry
)

type restartKey struct{}

// WithRestart returns a context whose calls and maps have this policy in place of the swarm's.
func WithRestart(ctx context.Context, p RestartPolicy) context.Context {
	return context.WithValue(ctx, restartKey{}, p)
}

// policyFor returns what holds for a call or a map: its own policy, else its context's, else the swarm's.
func (s *Swarm) policyFor(ctx context.Context, own RestartPolicy) RestartPolicy {
	if own == RestartDefault {
		own, _ = ctx.Value(restartKey{}).(RestartPolicy)
	}
	if own == RestartDefault {
		own = s.config.OnRestart
	}
	return own
}

// restart begins the lane anew with a gateway that does not know it. What the old one never had, and what it refused
// because it was draining, is sent again; what it may have run ends as lost or is sent again, as the task's policy says.
// Final means that the old gateway's last ack is all it took. Where the lane is given up everything ends.
func (l *swarmLane) restart(cause error, final bool) {
	l.welcomed = false
	l.recvMu.Lock()
	l.mu.Lock()
	gone := laneState(l.state.Load()) == laneGone
	unseen := l.unseen(final)
	slots := l.slots
	l.slots, l.free, l.bodies, l.deadlines = nil, nil, 0, 0
	l.inflight.Store(0)
	l.out.Reset()
	l.in.Reset()
	l.loseStreams(cause)
	var over []ending
	for id, s := range slots {
		if s.sink == nil {
			continue
		}
		_, notRun := unseen[uint32(id)]
		notRun = notRun || s.parked()
		switch refused := l.refuses(s); {
		case s.request.cancelled && notRun:
			over = append(over, ending{slot: s, status: StatusCanceled})
		case s.request.cancelled:
			over = append(over, ending{s, StatusLost, proto.Error{Text: "cancelled, but the gateway that may have run it is gone: " + cause.Error()}})
		case gone && s.parked():
			over = append(over, ending{s, StatusDraining, proto.Error{Text: "no other gateway came up: " + cause.Error()}})
		case gone && notRun:
			over = append(over, ending{s, StatusLost, proto.Error{Code: codeNotRun, Text: "it was never sent: " + cause.Error()}})
		case gone, !notRun && s.request.policy != RestartRetry:
			over = append(over, ending{s, StatusLost, proto.Error{Text: cause.Error()}})
		case refused != nil:
			over = append(over, *refused)
		default:
			again := outgoing{s.index, s.body}
			l.swarm.resent.Store(true)
			l.putAll(s.request, s.sink, []outgoing{again}, max(s.sent, -s.sent))
			l.inflight.Add(1)
		}
	}
	l.grown()
	l.mu.Unlock()
	l.recvMu.Unlock()
	l.deliver(over)
}

// unseen returns the ids of the tasks that the gateway certainly did not take: those in frames that were never written
// to their end or, if its last ack is final, lie beyond it. The caller holds mu.
func (l *swarmLane) unseen(final bool) map[uint32]struct{} {
	ids := map[uint32]struct{}{}
	l.out.NeverReceived(final, func(f proto.Frame) {
		if f.Kind != proto.KindTasks {
			return
		}
		payload := f.Payload
		if f.Compression() != proto.CompressNone {
			size, err := proto.ExpandedSize(f, maxFrameLimit)
			if err != nil {
				return
			}
			payload = make([]byte, size)
			if proto.Expand(payload, f) != nil {
				return
			}
		}
		f.Payload = payload
		_, payload, _, err := proto.CutFields(f)
		if err != nil {
			return
		}
		_, _, rest, err := proto.ParseTasksHeader(payload)
		for err == nil && len(rest) > 0 {
			var id uint32
			if id, _, rest, err = proto.NextTask(rest); err == nil {
				ids[id] = struct{}{}
			}
		}
	})
	return ids
}

// refuses says how a task ends that the limits of the lane's next gateway, where they are known, have no room for. The
// caller holds mu.
func (l *swarmLane) refuses(s slot) *ending {
	if l.window == 0 {
		return nil
	}
	if l.tooLarge(s.request, len(s.body)) {
		return &ending{s, StatusFailed, proto.Error{Code: proto.CodeTooLarge, Text: "the gateway's next life takes smaller frames"}}
	}
	if len(l.slots)-len(l.free) >= l.window || l.bodies > 0 && l.bodies+int64(len(s.body)) > l.windowBytes {
		return &ending{s, StatusBusy, proto.Error{Text: "the gateway's next life has a smaller window"}}
	}
	return nil
}

// ending is how a task ends at the client that has left its slot.
type ending struct {
	slot   slot
	status Status
	err    proto.Error
}

// deliver tells who waits. The caller does not hold mu.
func (l *swarmLane) deliver(over []ending) {
	now := monotonic()
	l.mu.Lock()
	for i := range over {
		e := &over[i]
		var body []byte
		if e.err.Text != "" || e.err.Code != 0 {
			body = proto.AppendError(nil, e.err)
		}
		e.slot.sink.settle(&e.slot, e.status, body, now, 0, 0)
	}
	l.mu.Unlock()
	for i := range over {
		over[i].slot.sink.settled(l)
	}
}

// carries reports whether tasks that a draining gateway refuses wait for the next one.
func (s *Swarm) carries() bool { return s.config.Wait > 0 }

// dismiss ends the wait for the answer of a task and cancels it at the gateway; one that the gateway does not have is
// over at once, and true says that no answer will come. The caller holds mu.
func (l *swarmLane) dismiss(id uint32) bool {
	if l.slots[id].parked() {
		l.release(id)
		l.inflight.Add(-1)
		return true
	}
	s := &l.slots[id]
	if s.request.deadline != 0 {
		l.deadlines--
	}
	s.sink, s.request = nil, &nobody // whose request it was may use it again
	l.cancelSlot(id)
	return false
}
