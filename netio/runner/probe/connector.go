package probe

import (
	"net"
	"net/netip"
	"time"
)

// connector makes connections for the loop of a scan, each in a numbered slot. Only that loop calls its methods, but for
// wake. There are two: the system's own sockets behind epoll (connector_linux.go), and a dial function
// (connector_dial.go).
type connector interface {
	// start begins to connect to a door, or to send an echo request. done: it has ended already, with err. Otherwise wait
	// reports the end, or drop gives it up.
	start(slot int, d door, to netip.Addr) (done bool, err error)

	// wait waits until a connection has ended, wake was called or d is over, and calls ended for each connection that has
	// ended since. With d 0 it only looks.
	wait(d time.Duration, ended func(slot int, err error))

	// take hands over the connection of a slot that ended without an error; the slot has none any more. It may fail for
	// want of descriptors.
	take(slot int) (net.Conn, error)

	// drop closes what the slot has, if anything.
	drop(slot int)

	// wake makes wait return; any goroutine may call it.
	wake()

	// close closes everything, and returns when no goroutine of the connector is left.
	close()
}

// icmpError says that no echo request can be sent from here.
type icmpError struct{ err error }

func (e *icmpError) Error() string { return "icmp is not to be had here: " + e.err.Error() }
func (e *icmpError) Unwrap() error { return e.err }
