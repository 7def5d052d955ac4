package probe

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epollConnector makes non-blocking connections of the system and waits for all of them by one epoll. A probe costs no
// goroutine, and on a fast way three system calls: socket, connect, close.
//
// The two descriptors that it needs itself are opened by the first start that gets them: until then each start fails for
// want of descriptors, as it does for want of a socket, and the scan waits and tries again.
type epollConnector struct {
	epoll  int   // -1: not open yet
	fds    []int // by slot; -1: none
	icmp   []bool
	events []unix.EpollEvent
	echo   uint16 // sequence of the next echo request

	early chan struct{} // wakes a wait while there is no eventfd
	mu    sync.Mutex    // guards event
	event int           // an eventfd, by which wake ends a wait; -1: none
}

const wakeSlot = -1

// newConnector returns the connector of this system.
func newConnector() connector {
	return &epollConnector{epoll: -1, event: -1, events: make([]unix.EpollEvent, 256), early: make(chan struct{}, 1)}
}

// open opens what the connector itself needs, where that has not been done.
func (c *epollConnector) open() error {
	if c.epoll >= 0 {
		return nil
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return os.NewSyscallError("eventfd", err)
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}); err != nil {
		_, _ = unix.Close(epoll), unix.Close(event)
		return os.NewSyscallError("epoll_ctl", err)
	}
	c.epoll = epoll
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event = event
	return nil
}

func (c *epollConnector) start(slot int, d door, to netip.Addr) (bool, error) {
	for len(c.fds) <= slot {
		c.fds, c.icmp = append(c.fds, -1), append(c.icmp, false)
	}
	if err := c.open(); err != nil {
		return true, err
	}
	c.icmp[slot] = d == icmpDoor
	address, family := sockaddr(to, d)
	if d == icmpDoor {
		return c.startEcho(slot, address, family)
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true, err
	}
	if err = unix.Connect(fd, address); err == unix.EINPROGRESS {
		// Addresses of this machine have answered by now. The second call tells how, and tells others nothing new.
		err = unix.Connect(fd, address)
	}
	switch err {
	case nil, unix.EISCONN:
		c.fds[slot] = fd
		return true, c.connected(slot)
	case unix.EALREADY, unix.EINPROGRESS:
		return c.watch(slot, fd, unix.EPOLLOUT)
	case unix.EADDRNOTAVAIL:
		if !hasSource(family, address) {
			err = errNoSource
		}
	}
	_ = unix.Close(fd)
	return true, err
}

// errNoSource says that this machine has no address from which a target could be reached: waiting does not help.
var errNoSource = errors.New("this machine has no address to reach it from")

// hasSource reports whether the system finds a source address for a destination; where it does, a port was missing.
// Nothing is sent.
func hasSource(family int, to unix.Sockaddr) bool {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true // not known
	}
	defer unix.Close(fd)
	return unix.Connect(fd, to) != unix.EADDRNOTAVAIL
}

// watch makes wait report the end of what fd is at.
func (c *epollConnector) watch(slot, fd int, events uint32) (bool, error) {
	err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(slot)})
	if err != nil {
		_ = unix.Close(fd)
		return true, err
	}
	c.fds[slot] = fd
	return false, nil
}

// connected ends a connection that has succeeded, unless it is one with itself.
func (c *epollConnector) connected(slot int) error {
	fd := c.fds[slot]
	local, err := unix.Getsockname(fd)
	if err == nil {
		var remote unix.Sockaddr
		remote, err = unix.Getpeername(fd)
		if err == nil && sameAddress(local, remote) {
			err = errSelfConnect
		}
	}
	switch err {
	case nil:
		return nil
	case unix.ENOTCONN: // connected and reset since: something listened
		err = nil
	}
	if err != nil {
		c.drop(slot)
	}
	return err
}

func sameAddress(a, b unix.Sockaddr) bool {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		b, ok := b.(*unix.SockaddrInet4)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	case *unix.SockaddrInet6:
		b, ok := b.(*unix.SockaddrInet6)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	}
	return false
}

func sockaddr(to netip.Addr, d door) (unix.Sockaddr, int) {
	if to.Is4() || to.Is4In6() {
		return &unix.SockaddrInet4{Port: int(d), Addr: to.As4()}, unix.AF_INET
	}
	address := &unix.SockaddrInet6{Port: int(d), Addr: to.As16()}
	if to.Zone() != "" {
		if i, err := net.InterfaceByName(to.Zone()); err == nil {
			address.ZoneId = uint32(i.Index)
		}
	}
	return address, unix.AF_INET6
}

func (c *epollConnector) wait(d time.Duration, ended func(slot int, err error)) {
	if c.epoll < 0 {
		c.waitEarly(d)
		return
	}
	for {
		n, err := unix.EpollWait(c.epoll, c.events, int(min((d+time.Millisecond-1)/time.Millisecond, time.Hour/time.Millisecond)))
		if err != nil { // EINTR: the loop asks again
			return
		}
		for _, e := range c.events[:n] {
			if e.Fd == wakeSlot {
				var count [8]byte
				_, _ = unix.Read(c.event, count[:])
				continue
			}
			slot := int(e.Fd)
			ended(slot, c.outcome(slot))
		}
		if n < len(c.events) {
			return
		}
		d = 0
	}
}

// outcome is how the connection of a slot ended that epoll reports.
func (c *epollConnector) outcome(slot int) error {
	fd := c.fds[slot]
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	switch {
	case err != nil:
		c.drop(slot)
		return err
	case c.icmp[slot]:
		c.drop(slot)
		return nil
	}
	return c.connected(slot)
}

func (c *epollConnector) take(slot int) (net.Conn, error) {
	fd := c.fds[slot]
	_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, fd, nil) // not there where the connection was made at once
	f := os.NewFile(uintptr(fd), "")
	c.fds[slot] = -1
	defer f.Close()
	return net.FileConn(f)
}

// drop closes by a reset, which leaves no port of this machine in TIME_WAIT.
func (c *epollConnector) drop(slot int) {
	if slot >= len(c.fds) || c.fds[slot] < 0 {
		return
	}
	if !c.icmp[slot] {
		_ = unix.SetsockoptLinger(c.fds[slot], unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(c.fds[slot])
	c.fds[slot] = -1
}

// waitEarly is wait while nothing can have been started. A wake after it has looked is met by the eventfd, or next time.
func (c *epollConnector) waitEarly(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.early:
	case <-timer.C:
	}
}

func (c *epollConnector) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.event < 0 {
		select {
		case c.early <- struct{}{}:
		default:
		}
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(c.event, one[:])
}

func (c *epollConnector) close() {
	for slot := range c.fds {
		c.drop(slot)
	}
	if c.epoll < 0 {
		return
	}
	_ = unix.Close(c.epoll)
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = unix.Close(c.event)
	c.event = -1
}

// startEcho sends an echo request from a socket of its own, so that only the answer to it makes that readable.
func (c *epollConnector) startEcho(slot int, to unix.Sockaddr, family int) (bool, error) {
	protocol, kind, level, option := unix.IPPROTO_ICMP, byte(8), unix.SOL_IP, unix.IP_RECVERR
	if family == unix.AF_INET6 {
		protocol, kind, level, option = unix.IPPROTO_ICMPV6, 128, unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err == unix.EACCES || err == unix.EPERM || err == unix.EPROTONOSUPPORT {
		return true, &icmpError{errPingGroup}
	}
	if err != nil {
		return true, err
	}
	// Without this, errors of routers would not reach the socket.
	if err = unix.SetsockoptInt(fd, level, option, 1); err == nil {
		err = unix.Connect(fd, to)
	}
	if err == nil {
		c.echo++
		request := []byte{kind, 0, 0, 0, 0, 0, byte(c.echo >> 8), byte(c.echo), 's', 'h', 'o', 'a', 'l', 0, 0, 0}
		_, err = unix.Write(fd, request) // the system puts the identifier and the checksum in
	}
	if err != nil {
		_ = unix.Close(fd)
		return true, err
	}
	return c.watch(slot, fd, unix.EPOLLIN)
}

var errPingGroup = errors.New("this user may open no ping socket; put its group into net.ipv4.ping_group_range")
