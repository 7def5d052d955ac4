//go:build !linux

package execrun

import (
	"log/slog"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newKeeper returns the only keeper there is.
func newKeeper(*slog.Logger) keeper { return groups{} }

// Supervise does nothing: see the documentation of the same function for Linux.
func Supervise() {}

// prepareWait returns the function that waits for the end of a process without reaping it. A thread waits.
func prepareWait(*syscall.SysProcAttr) func(pid int) {
	return func(pid int) {
		const idPid = 1 // P_PID
		var info [128]byte
		for {
			_, _, err := syscall.Syscall6(syscall.SYS_WAITID, idPid, uintptr(pid), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|unix.WNOWAIT, 0, 0)
			if err != syscall.EINTR {
				return
			}
		}
	}
}
