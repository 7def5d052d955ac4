//go:build race

package engine

import (
	"bytes"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
)

// ownerCheck checks that what a loop owns is touched by that loop's goroutine alone.
type ownerCheck struct{ goroutine atomic.Pointer[string] }

// claim makes the calling goroutine the owner.
func (o *ownerCheck) claim() { id := goroutineID(); o.goroutine.Store(&id) }

// check panics on any other goroutine than the owner.
func (o *ownerCheck) check() {
	if owner, here := *o.goroutine.Load(), goroutineID(); owner != here {
		panic("connection of " + owner + " is used by " + here)
	}
}

// goroutineID returns what the runtime calls the calling goroutine: "goroutine 12".
func goroutineID() string {
	var buf [64]byte
	line := buf[:runtime.Stack(buf[:], false)]
	if i := bytes.IndexByte(line, '['); i > 0 {
		line = line[:i-1]
	}
	return string(line)
}

// The race detector takes a write to a socket to happen before a read of it where both go through package syscall. gnet
// and Writev go through golang.org/x/sys/unix, which has a variable of its own for that. So each read of a loop is
// followed, and each write preceded, by one of package syscall that moves a byte of a device.
var (
	zero = openDevice("/dev/zero", syscall.O_RDONLY)
	null = openDevice(os.DevNull, syscall.O_WRONLY)
)

func openDevice(name string, mode int) int {
	fd, err := syscall.Open(name, mode|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

// acquireWire makes what was written to any socket before visible to the caller.
func acquireWire() { var b [1]byte; _, _ = syscall.Read(zero, b[:]) }

// releaseWire makes what the caller has done visible to whoever reads a socket after.
func releaseWire() { _, _ = syscall.Write(null, []byte{0}) }
