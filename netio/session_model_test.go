package netio

import "fmt"

// The model of a session: what may happen to its tasks, whatever the connections do. It knows nothing of bytes.
//
// The gateway either knows the client's lane or it does not. It begins to know it with a hello, and forgets it when it is
// killed, when it has drained, or when the lane stayed away for too long; each time it forgets, an age of the model ends.
//
// A task is in one of these states:
//
//	out        the client has handed it over; nobody has run it in this age
//	running    the gateway has begun it in this age
//	finished   its subroutine has returned
//	over       the client has its terminal status
//
// and goes from one to another by these events:
//
//	event                from                 to         provided that
//	submit               -                    out
//	run                  out                  running    it never ran, or its policy is retry and an age has ended since
//	finish               running              finished
//	an age ends          running, finished    out
//	status ok            finished, or out     over       it ran; where it is out, it finished in the age before
//	status canceled      any but over         over       it was cancelled, or its swarm was closed
//	status lost          any but over         over       an age has ended since it was submitted, and its policy is report
//	status draining      out                  over       a gateway drained, the client does not wait for the next, and it
//	                                                     never ran, or did so in an age before and its policy is retry
//
// No other event is possible: so every task runs at most once in an age, at most once at all unless its policy is retry,
// and ends in one status. That it does end is checked once everything has been let through.
type sessionModel struct {
	age     int
	drained bool // a gateway has drained
	carries bool // the client waits for the next gateway
	tasks   []modelTask
	broken  []string // which impossible events happened
}

type modelState int

const (
	taskStateOut modelState = iota
	taskStateRunning
	taskStateFinished
	taskStateOver
)

type modelTask struct {
	state     modelState
	policy    RestartPolicy
	submitted int // the age
	ranIn     int // the last age in which it ran; 0: never
	runs      int
	finished  bool // in some age
	cancelled bool
	status    Status
}

func (m *sessionModel) impossible(i int, event string) {
	m.broken = append(m.broken, fmt.Sprintf("task %d: %s in age %d, but it is %+v", i, event, m.age, m.tasks[i]))
}

func (m *sessionModel) submit(p RestartPolicy) int {
	m.tasks = append(m.tasks, modelTask{policy: p, submitted: m.age})
	return len(m.tasks) - 1
}

func (m *sessionModel) run(i int) {
	t := &m.tasks[i]
	if t.runs > 0 && (t.policy != RestartRetry || t.ranIn == m.age) || t.state != taskStateOut && t.state != taskStateOver ||
		t.state == taskStateOver && !t.cancelled {
		m.impossible(i, "run")
	}
	if t.state != taskStateOver {
		t.state = taskStateRunning
	}
	t.ranIn, t.runs = m.age, t.runs+1
}

func (m *sessionModel) finish(i int) {
	if t := &m.tasks[i]; t.state == taskStateRunning {
		t.state, t.finished = taskStateFinished, true
	}
}

// forget ends an age.
func (m *sessionModel) forget() {
	m.age++
	for i := range m.tasks {
		if t := &m.tasks[i]; t.state != taskStateOver {
			t.state = taskStateOut
		}
	}
}

func (m *sessionModel) over(i int, s Status) {
	t := &m.tasks[i]
	ok := t.state != taskStateOver
	switch s {
	case StatusOK:
		ok = ok && t.finished
	case StatusCanceled:
		ok = ok && t.cancelled
	case StatusLost:
		ok = ok && m.age > t.submitted && t.policy == RestartReport
	case StatusDraining:
		ok = ok && m.drained && !m.carries && t.state == taskStateOut && (t.runs == 0 || t.policy == RestartRetry)
	default:
		ok = false
	}
	if !ok {
		m.impossible(i, "status "+s.String())
	}
	t.state, t.status = taskStateOver, s
}
