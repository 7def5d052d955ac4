package netio

import "golang.org/x/sys/unix"

// peerUID asks the system for the user of the process at the other end of a unix socket.
func peerUID(fd int) (uid uint32, err error) {
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return c.Uid, nil
}
