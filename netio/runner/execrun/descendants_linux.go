package execrun

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// process is one of /proc. Its id and start time together are never another's.
type process struct {
	pid, parent int
	started     string
}

// readProcess reads /proc/pid/stat: the id, the name in parentheses, the state, the parent and 17 more before the start time.
func readProcess(pid int) (p process, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return p, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return process{pid: pid, parent: parent, started: string(fields[19])}, err == nil
}

// descendants returns the processes below root.
func descendants(root int) (found []process) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	children := map[int][]process{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := readProcess(pid); ok {
				children[p.parent] = append(children[p.parent], p)
			}
		}
	}
	found = children[root]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

// kill kills the process, and not another that has got its id since.
func (p process) kill() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		if err == unix.ENOSYS {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		return
	}
	defer unix.Close(fd)
	if now, ok := readProcess(p.pid); ok && now.started == p.started {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// killDescendants kills until there is nobody left, and reaps them. What cannot be killed is tried for ever: who waits for
// us says so.
func killDescendants() {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		for _, p := range descendants(os.Getpid()) {
			p.kill()
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.ECHILD {
				return
			}
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
		time.Sleep(pause)
	}
}

// siginfoPid returns the id of the process that a siginfo of waitid tells of: the first field after three numbers and, where
// pointers have eight bytes, a gap.
func siginfoPid(info *unix.Siginfo) int {
	fields := (*[unsafe.Sizeof(unix.Siginfo{}) / 4]int32)(unsafe.Pointer(info))
	return int(fields[2+unsafe.Sizeof(uintptr(0))/4])
}
