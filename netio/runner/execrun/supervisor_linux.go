package execrun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisors is the keeper that starts each program by a supervisor: this program's own file, run with supervisorName as
// its first argument. See Supervise for what it does. The gateway talks to it by two pipes:
//
//	control  T: TERM for the program's group; the end of the pipe: kill the family and end
//	status   O and the program's id: it runs; E and an error number: it was not started; S and a wait status: how it ended,
//	         once nobody of the family is left. Each is five bytes, the number little-endian.
type supervisors struct{}

// supervisorName is the first argument of a supervisor.
const supervisorName = "shoal-exec-supervisor"

// supervising is set where this program can be a supervisor.
var supervising bool

// supervisorFile is this program.
const supervisorFile = "/proc/self/exe"

// Descriptors of a supervisor.
const (
	controlFD = 3
	statusFD  = 4
)

type supervisedTask struct {
	*leader          // the supervisor
	program int      // the id of the program, and of its group
	control *os.File // its end is the supervisor's order to kill
	status  *os.File
}

func (supervisors) kind() string { return "supervisor" }
func (supervisors) close() error { return nil }

func (supervisors) start(l *launch) (task, error) {
	theirControl, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirControl.Close()
	status, theirStatus, err := os.Pipe()
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	argv := append([]string{supervisorName, l.path}, l.argv...)
	led, err := startLeader(supervisorFile, argv, l, []*os.File{theirControl, theirStatus}, &syscall.SysProcAttr{})
	_ = theirStatus.Close()
	if err != nil {
		_, _ = control.Close(), status.Close()
		return nil, err
	}
	t := &supervisedTask{leader: led, control: control, status: status}
	switch kind, value, err := t.report(); {
	case err == nil && kind == 'O':
		t.program = int(value)
		return t, nil
	case err == nil && kind == 'E':
		err = syscall.Errno(value)
		fallthrough
	default:
		_ = t.kill()
		_, _ = t.leader.wait()
		return nil, err
	}
}

// report reads what the supervisor has to say.
func (t *supervisedTask) report() (kind byte, value uint32, err error) {
	var b [5]byte
	if _, err := io.ReadFull(t.status, b[:]); err != nil {
		return 0, 0, fmt.Errorf("supervisor: %w", err)
	}
	return b[0], binary.LittleEndian.Uint32(b[1:]), nil
}

func (t *supervisedTask) terminate() { _, _ = t.control.Write([]byte("T")) }

func (t *supervisedTask) kill() error {
	_ = t.control.Close()
	return t.ended()
}

func (t *supervisedTask) wait() (ending, error) {
	defer t.status.Close()
	if _, err := t.leader.wait(); err != nil {
		return ending{}, err
	}
	_ = t.status.SetReadDeadline(time.Now().Add(time.Second)) // it is there, unless the supervisor hangs or was killed
	kind, value, err := t.report()
	if err != nil || kind != 'S' {
		_ = syscall.Kill(-t.program, syscall.SIGKILL) // what is left to do
		return ending{}, errors.New("its supervisor was killed: processes may be left")
	}
	return endingOf(syscall.WaitStatus(value)), nil
}

// Supervise lets this program be the supervisor of the programs that its Runner starts, where there are no cgroups. Call it
// first thing in main. It returns at once, except in a process that a Runner has started as a supervisor: there it never
// returns.
//
// A supervisor is the reaper of all descendants of its program. It ends when the program has ended or the gateway has closed
// the control pipe, if only by its death, and before that kills whoever is left.
func Supervise() {
	if len(os.Args) < 3 || os.Args[0] != supervisorName {
		supervising = true
		return
	}
	os.Exit(supervise(os.Args[1], os.Args[2:]))
}

func supervise(path string, argv []string) int {
	control, status := os.NewFile(controlFD, "control"), os.NewFile(statusFD, "status")
	unix.CloseOnExec(controlFD)
	unix.CloseOnExec(statusFD)
	report := func(kind byte, value uint32) {
		_, _ = status.Write(binary.LittleEndian.AppendUint32([]byte{kind}, value))
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		report('E', errno(err))
		return 1
	}
	p, err := os.StartProcess(path, argv, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		report('E', errno(err))
		return 1
	}
	report('O', uint32(p.Pid))
	var mu sync.Mutex // guards reaped: after that the id is nobody's
	reaped := false
	signal := func(sig syscall.Signal) {
		mu.Lock()
		defer mu.Unlock()
		if !reaped {
			_ = syscall.Kill(-p.Pid, sig)
		}
	}
	go func() { // ends with the process
		var b [1]byte
		for {
			if n, err := control.Read(b[:]); n == 0 || err != nil {
				signal(syscall.SIGKILL)
				return
			}
			signal(syscall.SIGTERM)
		}
	}()
	result := awaitProgram(p.Pid, func() { mu.Lock(); reaped = true; mu.Unlock() })
	killDescendants()
	report('S', uint32(result))
	return 0
}

// awaitProgram reaps descendants until the program itself has ended.
func awaitProgram(pid int, reaped func()) syscall.WaitStatus {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil); err == nil && info.Signo != 0 {
			reaped()
			var status syscall.WaitStatus
			for {
				if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
					return status
				}
			}
		}
		// Somebody has ended, or will: the program, or an orphan, which is reaped here.
		var any unix.Siginfo
		if unix.Waitid(unix.P_ALL, 0, &any, unix.WEXITED|unix.WNOWAIT, nil) == nil {
			if ended := siginfoPid(&any); ended > 0 && ended != pid {
				_, _ = syscall.Wait4(ended, nil, syscall.WNOHANG, nil)
			}
		}
	}
}

func errno(err error) uint32 {
	var e syscall.Errno
	if errors.As(err, &e) {
		return uint32(e)
	}
	return uint32(syscall.EIO)
}
