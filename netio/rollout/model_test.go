package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"shoal/netio/target"
)

// model is what a roll-out may do, written down once more and without regard to how: it has the whole history of every
// task, and looks at all of it at each step.
type model struct {
	t        *testing.T
	config   Config
	input    []byte
	s        *Schedule
	now      time.Duration
	count    int // tasks that the source has
	tasks    []*modelTask
	noMore   bool
	starts   []time.Duration
	failures int
	limit    int // failures that halt; 0: none do
	halted   bool
	waveOver []time.Duration // when each wave was over
}

type modelTask struct {
	target   string
	wave     int
	attempts int
	ends     time.Duration // while it runs
	outcome  Outcome       // at ends
	again    time.Duration // when it may start next
	running  bool
	over     bool
}

const step = 100 * time.Millisecond

// next takes a number below n from the input; 0 when that is used up.
func (m *model) next(n int) int {
	if len(m.input) == 0 {
		return 0
	}
	b := m.input[0]
	m.input = m.input[1:]
	return int(b) % n
}

func newModel(t *testing.T, input []byte) *model {
	m := &model{t: t, input: input}
	m.count = m.next(40)
	c := Config{
		Fanout: m.next(5), PerTarget: m.next(3), Rate: []float64{0, 0, 5, 30, 300}[m.next(5)], Delay: step / 2 * time.Duration(m.next(3)),
		Retries: m.next(3), Backoff: step * time.Duration(1+m.next(4)), MaxBackoff: step * time.Duration(4+m.next(4)),
		Pause: step * time.Duration(m.next(3)),
	}
	if m.next(3) == 0 {
		c.StartWithin = step * time.Duration(1+m.next(20))
	}
	if m.next(2) == 0 {
		c.Total = uint64(m.count)
	}
	for range m.next(4) {
		c.Canary = append(c.Canary, target.Share{Count: uint64(1 + m.next(6))})
		if c.Total > 0 && m.next(2) == 0 {
			c.Canary[len(c.Canary)-1] = target.Share{Percent: float64(1 + m.next(60))}
		}
	}
	if m.next(2) == 0 {
		m.limit = 1 + m.next(5)
		c.Halt = Halt{Now: m.next(2) == 0, Fail: target.Share{Count: uint64(m.limit)}}
		if c.Total > 0 && m.next(2) == 0 {
			percent := 1 + m.next(100)
			c.Halt.Fail = target.Share{Percent: float64(percent)}
			m.limit = max(1, (percent*m.count+99)/100)
		}
	}
	if err := c.Check(); err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	m.config, m.s = c, NewSchedule(c)
	m.s.jitter = func() float64 { return 0 }
	return m
}

// waveOf says which wave the task with this number belongs to.
func (m *model) waveOf(index int) int {
	for wave, share := range m.config.Canary {
		size := int(share.Count)
		if share.Percent > 0 {
			size = max(1, int(share.Of(uint64(m.count))))
		}
		if index < size {
			return wave
		}
		index -= size
	}
	return len(m.config.Canary)
}

// FuzzSchedule runs a schedule to its end on a clock of its own, and holds each of its actions against the model.
func FuzzSchedule(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{20})
	f.Add([]byte{39, 3, 1, 3, 1, 2, 1, 1, 1, 0, 9, 0, 2, 1, 0, 30, 3, 1, 0, 2, 0, 1, 1, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18})
	for i := range 40 {
		input := make([]byte, 300)
		for k := range input {
			input[k] = byte((k + 7*i + 3) * (2*i + 11) * (k*k + 5) >> 3)
		}
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, input []byte) { newModel(t, input).run() })
}

func (m *model) run() {
	for range 20_000 {
		action := m.s.Step(m.now)
		switch action.Kind {
		case Pull:
			m.pull(action)
		case Start:
			m.start(action)
		case Drop:
			m.drop(action)
		case Wait:
			m.mayWait()
			m.advance(action)
		case Finished:
			m.finish()
			return
		}
	}
	m.failf("the schedule does not come to an end")
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%+v at %v, %d of %d tasks offered, halted %v: %s", m.config, m.now, len(m.tasks), m.count, m.halted, fmt.Sprintf(format, args...))
}

func (m *model) running() (n int) {
	for _, t := range m.tasks {
		if t.running {
			n++
		}
	}
	return n
}

func (m *model) runningOn(target string) (n int) {
	for _, t := range m.tasks {
		if t.running && t.target == target {
			n++
		}
	}
	return n
}

// expired reports whether tasks of a wave that have not started may not start any more.
func (m *model) expired(wave int) bool {
	return m.config.StartWithin > 0 && m.now >= m.waveBegins(wave)+m.config.StartWithin
}

func (m *model) waveBegins(wave int) time.Duration {
	if wave == 0 {
		return 0
	}
	return m.waveOver[wave-1] + m.config.Pause
}

func (m *model) pull(a Action) {
	if m.noMore || m.halted {
		m.failf("pulls after the end")
	}
	if len(m.input) > 0 && m.next(6) == 0 { // the source is slow
		m.now += step / 4
		m.ends()
		return
	}
	if len(m.tasks) == m.count {
		m.noMore = true
		m.s.NoMore()
		return
	}
	t := &modelTask{target: string(rune('a' + m.next(4))), wave: m.waveOf(len(m.tasks)), again: m.now}
	if t.wave > 0 && len(m.waveOver) < t.wave {
		m.failf("pulls task %d of wave %d before wave %d is over", len(m.tasks), t.wave, t.wave-1)
	}
	m.tasks = append(m.tasks, t)
	if got := m.s.Offer(t.target); got != len(m.tasks)-1 {
		m.failf("task %d has the number %d", len(m.tasks)-1, got)
	}
}

// may says why a task cannot start now; empty: it can.
func (m *model) may(t *modelTask) string {
	switch c := m.config; {
	case m.halted:
		return "the roll-out is halted"
	case t.running || t.over:
		return "it runs or is over"
	case t.attempts > c.Retries:
		return "it has no tries left"
	case m.now < t.again:
		return "its back-off is not over"
	case c.Fanout > 0 && m.running() >= c.Fanout:
		return "the fan-out is used up"
	case c.PerTarget > 0 && m.runningOn(t.target) >= c.PerTarget:
		return "its target is busy"
	case t.wave > 0 && m.now < m.waveBegins(t.wave):
		return "the pause is not over"
	case t.attempts == 0 && m.expired(t.wave):
		return "it is too late"
	}
	return m.mayPace()
}

func (m *model) mayPace() string {
	n := len(m.starts)
	if n > 0 && m.now < m.starts[n-1]+m.config.Delay {
		return "the delay is not over"
	}
	if m.config.Rate > 0 {
		each := time.Duration(float64(time.Second) / m.config.Rate)
		ahead := max(0, time.Second/10-each)
		for i, at := range m.starts {
			if m.now < at+time.Duration(n-i)*each-ahead {
				return "the rate is used up"
			}
		}
	}
	return ""
}

func (m *model) start(a Action) {
	t := m.tasks[a.Task]
	if why := m.may(t); why != "" {
		m.failf("task %d starts, but %s", a.Task, why)
	}
	t.attempts++
	if a.Attempt != t.attempts {
		m.failf("task %d starts with attempt %d, it is its %d", a.Task, a.Attempt, t.attempts)
	}
	t.running = true
	t.ends = m.now + step/4*time.Duration(m.next(12))
	t.outcome = []Outcome{OK, OK, Failed, Failed, Final}[m.next(5)]
	m.starts = append(m.starts, m.now)
}

func (m *model) drop(a Action) {
	t := m.tasks[a.Task]
	if t.running || t.over || a.Attempt != t.attempts {
		m.failf("task %d is dropped after %d attempts: %+v", a.Task, a.Attempt, *t)
	}
	if !m.halted && (t.attempts > 0 || !m.expired(t.wave)) {
		m.failf("task %d is dropped too early", a.Task)
	}
	m.over(t, true)
}

func (m *model) over(t *modelTask, failed bool) {
	t.over = true
	if failed {
		if m.failures++; m.failures == m.limit {
			m.halted = true
		}
	}
	// A wave is over when all of its tasks are; the last one knows no end.
	wave := len(m.waveOver)
	if wave < len(m.config.Canary) && len(m.tasks) < m.count && m.waveOf(len(m.tasks)) > wave || len(m.tasks) == m.count {
		if !slices.ContainsFunc(m.tasks, func(t *modelTask) bool { return !t.over }) {
			m.waveOver = append(m.waveOver, m.now)
		}
	}
}

// ends ends the tasks whose time has come.
func (m *model) ends() {
	for i, t := range m.tasks {
		if !t.running || t.ends > m.now {
			continue
		}
		t.running = false
		final := t.outcome != Failed || t.attempts > m.config.Retries || m.halted
		if got := m.s.Ended(i, t.outcome, m.now); got != final {
			m.failf("task %d ended with %v, attempt %d: final %v", i, t.outcome, t.attempts, got)
		}
		if final {
			m.over(t, t.outcome != OK)
			continue
		}
		pause := m.config.Backoff
		for range t.attempts - 1 {
			pause *= 2
		}
		t.again = m.now + min(pause, m.config.MaxBackoff)
	}
	if m.s.Halted() != m.halted || m.s.Canceled() != (m.halted && m.config.Halt.Now) {
		m.failf("halted %v, canceled %v", m.s.Halted(), m.s.Canceled())
	}
}

// mayWait fails where something could be done.
func (m *model) mayWait() {
	for i, t := range m.tasks {
		if m.may(t) == "" {
			m.failf("task %d could start", i)
		}
	}
	idle := m.config.Fanout == 0 || m.running() < m.config.Fanout
	if m.halted || m.noMore || !idle || len(m.tasks) == m.count && m.config.Total > 0 {
		return
	}
	wave := m.waveOf(len(m.tasks))
	if wave > len(m.waveOver) || wave > 0 && m.now < m.waveBegins(wave) {
		return
	}
	for _, t := range m.tasks { // one that is ready to go as soon as the pace allows
		busy := m.config.PerTarget > 0 && m.runningOn(t.target) >= m.config.PerTarget
		if !t.running && !t.over && t.again <= m.now && !busy {
			return
		}
	}
	m.failf("another task could be pulled")
}

// advance lets time pass until something happens.
func (m *model) advance(a Action) {
	at := time.Duration(-1)
	if a.Until > 0 {
		if a.Until <= m.now {
			m.failf("waits until %v", a.Until)
		}
		at = a.Until
	}
	for _, t := range m.tasks {
		if t.running && (at < 0 || t.ends < at) {
			at = max(t.ends, m.now)
		}
	}
	if at < 0 {
		m.failf("waits for nothing")
	}
	m.now = at
	m.ends()
}

func (m *model) finish() {
	if len(m.tasks) < m.count && !m.halted {
		m.failf("finished")
	}
	for i, t := range m.tasks {
		if !t.over {
			m.failf("finished before task %d is over: %+v", i, *t)
		}
	}
	if m.s.Failures() != uint64(m.failures) {
		m.failf("%d failures, not %d", m.s.Failures(), m.failures)
	}
}
