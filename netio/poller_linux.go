package netio

import (
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reads for many connections on one goroutine, as an event loop does: it asks an epoll of its own which of them
// have something, and reads each once. So an idle connection costs neither a goroutine nor a buffer; and while the
// workers of the pool keep all processors busy, the poller stays among the goroutines that are ready to run and looks
// for new work each time it is its turn, where the runtime's own poller would look only every 10 ms.
//
// When there is nothing to do it waits for its epoll in the runtime's poller, and costs nothing.
type poller struct {
	fd     int      // the epoll
	epoll  *os.File // the same, for the runtime's poller
	raw    syscall.RawConn
	busy   func() bool // whether workers keep the processors busy
	events [128]unix.EpollEvent
	ready  int // how many of them the last wait found
	spin   *spinner
	done   chan struct{}

	mu    sync.Mutex // guards what follows
	links map[int32]polledLink
}

// polledLink is what the poller knows of a connection.
type polledLink struct {
	k     *link
	owner polled
}

// newPoller starts a poller, which spins before it waits; close ends it.
func newPoller(busy func() bool, spin *spinner) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime's poller takes it
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{fd: fd, epoll: os.NewFile(uintptr(fd), "epoll"), busy: busy, spin: spin, done: make(chan struct{}), links: map[int32]polledLink{}}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

// close ends the poller's goroutine. No connection is left to it.
func (p *poller) close() {
	_ = p.epoll.Close()
	<-p.done
}

// add has the poller read for k, as readLoop does, from now on; readEnded is called on a goroutine of its own. False means
// that k is closed, or cannot be polled.
func (p *poller) add(k *link, owner polled) bool {
	if k.raw == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	added := false
	err := k.raw.Control(func(fd uintptr) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.links[int32(fd)] = polledLink{k, owner}
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
		if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &event); err != nil {
			delete(p.links, int32(fd))
			return
		}
		added = true
	})
	k.polled = err == nil && added
	return k.polled
}

// run is the poller's goroutine.
func (p *poller) run() {
	defer close(p.done)
	wait := p.wait
	for p.raw.Read(wait) == nil {
		for i := range p.ready {
			fd := p.events[i].Fd
			p.mu.Lock()
			l := p.links[fd]
			p.mu.Unlock()
			if l.k == nil {
				continue
			}
			if err := l.k.readOnce(uintptr(fd), l.owner); err != nil {
				p.remove(fd, l, err)
			}
		}
	}
}

// wait looks which connections have something; false means that none has, and that the runtime's poller is to wait.
func (p *poller) wait(fd uintptr) bool {
	for !p.look(fd) {
		if !p.busy() {
			return p.spin.wait(func() bool { return p.look(fd) })
		}
		runtime.Gosched()
	}
	return true
}

// look finds out which connections have something now.
func (p *poller) look(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), p.events[:], 0)
	for err == unix.EINTR {
		n, err = unix.EpollWait(int(fd), p.events[:], 0)
	}
	p.ready = max(n, 0) // an epoll that was closed: Read finds out
	return p.ready > 0
}

// remove takes a connection away that is over.
func (p *poller) remove(fd int32, l polledLink, err error) {
	p.mu.Lock()
	delete(p.links, fd)
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(fd), nil)
	p.mu.Unlock()
	l.k.unpoll()
	go l.owner.readEnded(l.k, err)
}
