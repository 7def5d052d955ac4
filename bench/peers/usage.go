package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// usage is what a process has used since it began.
type usage struct {
	CPU time.Duration // user and system
	RSS int64         // bytes resident now; 0 where the system does not tell
}

func usageNow() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: resident()}
}

// resident returns VmRSS of /proc/self/status.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "VmRSS:" {
			kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}
