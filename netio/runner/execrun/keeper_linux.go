package execrun

import (
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newKeeper returns the best keeper that the system has.
func newKeeper(log *slog.Logger) keeper {
	k, err := newCgroups()
	if err == nil {
		return k
	}
	if supervising {
		log.Info("programs run under supervisors", "no cgroups", err)
		return supervisors{}
	}
	log.Warn("programs run in process groups: what begins a session of its own is not killed", "no cgroups", err)
	return groups{}
}

// prepareWait returns the function that waits for the end of the process that is about to be started with sys, without
// reaping it. Where the kernel has pidfds no thread waits.
func prepareWait(sys *syscall.SysProcAttr) func(pid int) {
	fd := -1
	sys.PidFD = &fd
	return func(pid int) {
		if fd >= 0 && waitPidfd(fd) {
			return
		}
		for {
			if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
				return
			}
		}
	}
}

// waitPidfd waits with the runtime's poller; it takes fd. It reports whether the process has ended.
func waitPidfd(fd int) bool {
	_ = unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Read(func(uintptr) bool {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		ended = err == nil && info.Signo != 0
		return ended || err != nil && err != unix.EINTR && err != unix.EAGAIN
	})
	return err == nil && ended
}
