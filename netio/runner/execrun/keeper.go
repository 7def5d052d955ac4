package execrun

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeper starts programs so that their families can be killed: see the package documentation.
type keeper interface {
	kind() string
	// start starts the program as the leader of a session of its own.
	start(l *launch) (task, error)
	close() error
}

// task is a program that was started. kill and then wait are called once each, by one goroutine.
type task interface {
	exited() <-chan struct{} // closed when the leader has ended; it is not reaped yet
	terminate()              // TERM for the leader's group
	kill() error             // KILL for the family; returns when nobody is left, or says that somebody is
	wait() (ending, error)   // reaps the leader
}

// ending is how a program ended.
type ending struct {
	exited bool // by itself, with the status exit
	exit   int
	signal string // the signal that ended it, such as KILL
}

// unkillable is how long the end after KILL is waited for: a process that hangs in the kernel cannot be killed.
const unkillable = 5 * time.Second

var errUnkillable = errors.New("processes of the command do not end after KILL")

// leader is the first process of a family.
type leader struct {
	process *os.Process
	done    chan struct{} // closed when it has ended; it is not reaped yet
}

// startLeader starts a program as the leader of a new session, which is a process group too.
func startLeader(path string, argv []string, l *launch, extra []*os.File, sys *syscall.SysProcAttr) (*leader, error) {
	sys.Setsid = true
	wait := prepareWait(sys)
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Dir: l.dir, Env: l.env, Files: append(l.files[:], extra...), Sys: sys})
	if err != nil {
		return nil, err
	}
	led := &leader{process: p, done: make(chan struct{})}
	go func() { // ends with the process
		defer close(led.done)
		wait(p.Pid)
	}()
	return led, nil
}

func (l *leader) exited() <-chan struct{} { return l.done }

// signalGroup signals the leader's process group. The leader is not reaped yet, so the id is still its own.
func (l *leader) signalGroup(sig syscall.Signal) { _ = syscall.Kill(-l.process.Pid, sig) }

// ended waits for the end of the leader after KILL.
func (l *leader) ended() error {
	select {
	case <-l.done:
		return nil
	case <-time.After(unkillable):
		return errUnkillable
	}
}

// wait reaps the leader. One that has not ended although it was killed is reaped whenever it ends.
func (l *leader) wait() (ending, error) {
	select {
	case <-l.done:
	default:
		go func() { _, _ = l.process.Wait() }() // ends with the process
		return ending{}, nil
	}
	state, err := l.process.Wait()
	if err != nil {
		return ending{}, err
	}
	return endingOf(state.Sys().(syscall.WaitStatus)), nil
}

func endingOf(s syscall.WaitStatus) ending {
	if s.Signaled() {
		return ending{signal: strings.TrimPrefix(unix.SignalName(s.Signal()), "SIG")}
	}
	return ending{exited: true, exit: s.ExitStatus()}
}

// groups is the keeper that knows process groups alone.
type groups struct{}

type groupTask struct{ *leader }

func (groups) kind() string { return "group" }
func (groups) close() error { return nil }

func (groups) start(l *launch) (task, error) {
	led, err := startLeader(l.path, l.argv, l, nil, &syscall.SysProcAttr{})
	if err != nil {
		return nil, err
	}
	return groupTask{led}, nil
}

func (t groupTask) terminate() { t.signalGroup(syscall.SIGTERM) }

func (t groupTask) kill() error {
	t.signalGroup(syscall.SIGKILL)
	return t.ended()
}
