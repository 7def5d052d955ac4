//go:build zmq

package main

/*
#cgo LDFLAGS: -lzmq
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <zmq.h>

// A burst of messages lies in memory one after another, each a u32, its size, and its bytes: so one call from Go does
// for many messages. What a signal of Go's scheduler has interrupted is tried again.

// ready tells whether a socket is, having done what other threads have asked it to.
static int ready(void *socket, int event) {
	int events = 0;
	size_t size = sizeof events;
	while (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) < 0)
		if (errno != EINTR)
			return 0;
	return events & event;
}

// push sends until there is no room and returns how many bytes of the burst are gone, or -1.
static int push(void *socket, const char *burst, int size) {
	int at = 0;
	while (at < size) {
		uint32_t length;
		memcpy(&length, burst + at, 4);
		if (zmq_send(socket, burst + at + 4, length, ZMQ_DONTWAIT) >= 0)
			at += 4 + length;
		else if (errno != EAGAIN && errno != EINTR)
			return -1;
		else if (errno == EAGAIN && !ready(socket, ZMQ_POLLOUT))
			break;
	}
	return at;
}

// pull receives what has come, as far as messages of most bytes surely fit, and returns the size of the burst, or -1.
static int pull(void *socket, char *burst, int size, int most) {
	int at = 0;
	while (at + 4 + most <= size) {
		int got = zmq_recv(socket, burst + at + 4, most, ZMQ_DONTWAIT);
		if (got > most) {
			errno = EMSGSIZE;
			return -1;
		}
		if (got >= 0) {
			uint32_t length = got;
			memcpy(burst + at, &length, 4);
			at += 4 + got;
		} else if (errno != EAGAIN && errno != EINTR)
			return -1;
		else if (errno == EAGAIN && !ready(socket, ZMQ_POLLIN))
			break;
	}
	return at;
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

const (
	zmqBurst   = 64 << 10
	zmqLargest = 4 << 10 // of a message
)

// zmqContext is the process's; it has one I/O thread, which is the default.
var zmqContext = sync.OnceValue(func() unsafe.Pointer { return C.zmq_ctx_new() })

// zmqSocket is a PUSH or a PULL socket. It has one user at a time. It waits as a connection does, in the runtime's
// poller and without a thread: what libzmq is kindest to Go with.
type zmqSocket struct {
	handle unsafe.Pointer
	events *os.File // readable when the socket may have become ready
	wait   syscall.RawConn
	burst  []byte // to send, or what has come
	next   int    // of what has come, what recv returns next
}

func zmqError(what string, err error) error { return fmt.Errorf("zmq: %s: %w", what, err) }

func newZMQ(kind C.int) (*zmqSocket, error) {
	handle, err := C.zmq_socket(zmqContext(), kind)
	if handle == nil {
		return nil, zmqError("socket", err)
	}
	s := &zmqSocket{handle: handle}
	linger := C.int(0)
	if rc, err := C.zmq_setsockopt(handle, C.ZMQ_LINGER, unsafe.Pointer(&linger), C.size_t(unsafe.Sizeof(linger))); rc != 0 {
		_ = s.Close()
		return nil, zmqError("linger", err)
	}
	if err := s.watch(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// watch makes the runtime's poller look at the socket's descriptor: at a copy, since the socket closes its own.
func (s *zmqSocket) watch() error {
	fd := C.int(0)
	size := C.size_t(unsafe.Sizeof(fd))
	if rc, err := C.zmq_getsockopt(s.handle, C.ZMQ_FD, unsafe.Pointer(&fd), &size); rc != 0 {
		return zmqError("descriptor", err)
	}
	mine, err := syscall.Dup(int(fd))
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	if err := syscall.SetNonblock(mine, true); err != nil {
		_ = syscall.Close(mine)
		return os.NewSyscallError("fcntl", err)
	}
	s.events = os.NewFile(uintptr(mine), "zmq")
	s.wait, err = s.events.SyscallConn()
	return err
}

// zmqString returns a string of C in Go's memory.
func zmqString(s string) *C.char { return (*C.char)(unsafe.Pointer(&append([]byte(s), 0)[0])) }

// bind returns the address of a free port.
func (s *zmqSocket) bind() (string, error) {
	if rc, err := C.zmq_bind(s.handle, zmqString("tcp://127.0.0.1:*")); rc != 0 {
		return "", zmqError("bind", err)
	}
	var address [256]byte
	size := C.size_t(len(address))
	if rc, err := C.zmq_getsockopt(s.handle, C.ZMQ_LAST_ENDPOINT, unsafe.Pointer(&address), &size); rc != 0 {
		return "", zmqError("endpoint", err)
	}
	return string(address[:size-1]), nil
}

func (s *zmqSocket) connect(address string) error {
	if rc, err := C.zmq_connect(s.handle, zmqString(address)); rc != 0 {
		return zmqError("connect", err)
	}
	return nil
}

// append adds a message to the burst that flush sends; it flushes what has become long.
func (s *zmqSocket) append(message ...[]byte) error {
	size := 0
	for _, part := range message {
		size += len(part)
	}
	s.burst = binary.NativeEndian.AppendUint32(s.burst, uint32(size))
	for _, part := range message {
		s.burst = append(s.burst, part...)
	}
	if len(s.burst) < zmqBurst {
		return nil
	}
	return s.flush()
}

// flush waits until the socket has taken everything.
func (s *zmqSocket) flush() error {
	rest := s.burst
	s.burst = s.burst[:0]
	return s.until(func() (bool, error) {
		if len(rest) == 0 {
			return true, nil
		}
		n, err := C.push(s.handle, (*C.char)(unsafe.Pointer(&rest[0])), C.int(len(rest)))
		if n < 0 {
			return false, zmqError("send", err)
		}
		rest = rest[n:]
		return len(rest) == 0, nil
	})
}

// recv waits for a message, which may change with the next; more have come already.
func (s *zmqSocket) recv() (message []byte, more bool, err error) {
	if s.next == len(s.burst) {
		if s.burst == nil {
			s.burst = make([]byte, zmqBurst)
		}
		err := s.until(func() (bool, error) {
			burst := s.burst[:cap(s.burst)]
			n, err := C.pull(s.handle, (*C.char)(unsafe.Pointer(&burst[0])), C.int(len(burst)), zmqLargest)
			if n < 0 {
				return false, zmqError("receive", err)
			}
			s.burst, s.next = burst[:n], 0
			return n > 0, nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	end := s.next + 4 + int(binary.NativeEndian.Uint32(s.burst[s.next:]))
	message = s.burst[s.next+4 : end]
	s.next = end
	return message, end < len(s.burst), nil
}

// until tries again whenever the socket may have become ready.
func (s *zmqSocket) until(try func() (done bool, err error)) (err error) {
	closed := s.wait.Read(func(uintptr) (done bool) {
		done, err = try()
		return done || err != nil
	})
	if err != nil {
		return err
	}
	return closed
}

// interrupt makes who waits return with an error, now and ever after.
func (s *zmqSocket) interrupt() { _ = s.events.Close() }

// Close may be called when nobody uses the socket.
func (s *zmqSocket) Close() error {
	if s.events != nil {
		_ = s.events.Close()
	}
	if rc, err := C.zmq_close(s.handle); rc != 0 {
		return zmqError("close", err)
	}
	return nil
}
