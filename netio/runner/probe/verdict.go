package probe

import (
	"errors"
	"syscall"
)

// localCause says which means of this machine an error asks for more of.
type localCause uint8

const (
	notLocal    localCause = iota
	descriptors            // fewer sockets at once help
	traffic                // a lower rate helps: ports, buffers, memory
	permanent              // trying again does not help
)

// errSelfConnect is the error of a connection whose two ends are one socket: the system gave it the port of the probe
// as its own. Nothing listens there.
var errSelfConnect = errors.New("connected to itself")

// verdict returns what the end of a connection attempt says. With a local cause the answer is NotTried, and it is final
// only where the cause is permanent. An error that is not known is never taken for an answer of the other side.
func verdict(err error) (Answer, localCause) {
	if err == nil {
		return Open, notLocal
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return NotTried, permanent
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET:
		return Closed, notLocal
	case syscall.ETIMEDOUT:
		return Filtered, notLocal
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENOPROTOOPT, syscall.EPROTO:
		return Unreachable, notLocal
	case syscall.EMFILE, syscall.ENFILE:
		return NotTried, descriptors
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.ENETDOWN,
		syscall.EINTR, syscall.EBUSY:
		return NotTried, traffic
	}
	return NotTried, permanent
}

// reason returns the words of an error that say more than the answer does, "" where the answer says all.
func reason(a Answer, err error) string {
	var errno syscall.Errno
	switch {
	case err == nil, a == Open, a == Closed, a == Filtered:
		return ""
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
