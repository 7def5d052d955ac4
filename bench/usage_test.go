package bench

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// usage is what a process has used since it began.
type usage struct {
	CPU     time.Duration // user and system
	Mallocs uint64
	Bytes   uint64 // allocated
	RSS     int64  // bytes resident now; 0 where the system does not tell
	Peak    int64  // the most that ever were

	Goroutines int // now
}

func usageNow() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Mallocs: m.Mallocs,
		Bytes:   m.TotalAlloc,
		RSS:     procStatus("VmRSS:"),
		Peak:    procStatus("VmHWM:"),

		Goroutines: runtime.NumGoroutine(),
	}
}

// since returns what was used after before; RSS, Peak and Goroutines stay what they are.
func (u usage) since(before usage) usage {
	u.CPU -= before.CPU
	u.Mallocs -= before.Mallocs
	u.Bytes -= before.Bytes
	return u
}

// procStatus returns the bytes of a line of /proc/self/status.
func procStatus(key string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == key {
			kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}
