package netio

import "log/slog"

// ConnectionState is what has become of a connection of a swarm.
type ConnectionState int

// The states. A connection that is lost is tried again until the swarm is closed.
const (
	ConnectionNew     ConnectionState = iota + 1 // welcome at a gateway that does not know it
	ConnectionResumed                            // welcome again: what was under way goes on
	ConnectionLost                               // ended, for the reason in Err
	ConnectionRefused                            // tried in vain, for the reason in Err
	ConnectionGivenUp                            // away for longer than SwarmConfig.GiveUp: what was under way has ended as lost
)

func (s ConnectionState) String() string {
	switch s {
	case ConnectionNew:
		return "connected"
	case ConnectionResumed:
		return "connection resumed"
	case ConnectionLost:
		return "connection lost"
	case ConnectionRefused:
		return "connection refused"
	case ConnectionGivenUp:
		return "gateway given up"
	}
	return "unknown"
}

// ConnectionEvent tells of one connection.
type ConnectionEvent struct {
	Connection int // which of the swarm's, from 0
	State      ConnectionState
	Err        error // why, where it did not go well
	Again      bool  // the same has happened before, without anything else between
}

// happened logs what became of the lane's connection, and tells who wants to know. The lane's run goroutine, or that of Dial
// before there is one, calls it.
func (l *swarmLane) happened(state ConnectionState, err error) {
	s := l.swarm
	e := ConnectionEvent{Connection: int(l.index), State: state, Err: err, Again: l.lastState == state}
	l.lastState = state
	level := slog.LevelInfo
	switch {
	case e.Again:
		level = slog.LevelDebug
	case state == ConnectionRefused, state == ConnectionGivenUp:
		level = slog.LevelWarn
	}
	if err != nil {
		s.log.Log(s.ctx, level, state.String(), "url", s.url, "lane", l.index, "error", err)
	} else {
		s.log.Log(s.ctx, level, state.String(), "url", s.url, "lane", l.index)
	}
	if s.config.OnConnection != nil {
		s.config.OnConnection(e)
	}
}
