package files

import "golang.org/x/sys/unix"

// accessTime is what setTime gives a file as the time of its last access: that stays as it is.
func accessTime(int64) unix.Timespec { return unix.Timespec{Nsec: unix.UTIME_OMIT} }
