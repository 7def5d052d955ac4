package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm sleeps to within some 20 µs. time.Sleep of an idle process is up to a millisecond late here, because the runtime
// waits for its timers in epoll, in milliseconds.
type alarm struct {
	fd   int
	file *os.File // owns fd; the runtime waits for it as for a connection
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{fd, os.NewFile(uintptr(fd), "timer")}, nil
}

func (a *alarm) sleep(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}

func (a *alarm) close() error { return a.file.Close() }
