package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

// roleVariable tells a process that it is a child, and what it is to be: a role in JSON. A child answers one line on
// standard output when it is ready, then one line to each order on standard input, and ends with standard input, so that
// none outlives its parent.
const roleVariable = "SHOAL_GROWTH_ROLE"

type role struct {
	Load load
	URL  string // where a client dials; empty: it is a gateway
}

type order struct {
	Run     time.Duration // a client does a round; 0: only tell the usage
	Profile string        // file for a CPU profile, which the next order ends
}

type reply struct {
	Error string        `json:",omitempty"`
	URL   string        `json:",omitempty"` // of a gateway
	CPU   time.Duration // user and system, since the process began
	RSS   int64         // bytes resident now

	Tasks   int
	Elapsed time.Duration
	P99     float64 // µs
}

// runChild is the main function of a child.
func runChild(spec string) error {
	var r role
	if err := json.Unmarshal([]byte(spec), &r); err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var c *client
	var ready reply
	var err error
	if r.URL == "" {
		ready.URL, err = serve(r.Load)
	} else {
		c, err = dial(r.URL, r.Load)
	}
	if err != nil {
		return out.Encode(reply{Error: err.Error()})
	}
	for {
		if err := out.Encode(ready); err != nil {
			return err
		}
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if ready, err = obey(c, o); err != nil {
			ready = reply{Error: err.Error()}
		}
	}
}

// obey does what it is told; a gateway has no client.
func obey(c *client, o order) (reply, error) {
	pprof.StopCPUProfile()
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return reply{}, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return reply{}, err
		}
	}
	if o.Run == 0 {
		return usageNow(), nil
	}
	runtime.GC()
	before, start := usageNow(), time.Now()
	latencies, err := c.run(o.Run)
	if err != nil {
		return reply{}, err
	}
	elapsed, r := time.Since(start), usageNow()
	r.CPU -= before.CPU
	r.Tasks, r.Elapsed, r.P99 = latencies.N, elapsed, latencies.Quantile(0.99)
	return r, nil
}

func usageNow() reply {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return reply{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: resident()}
}

// resident returns VmRSS of /proc/self/status; 0 where there is none.
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

// childMain runs the child that this process was started as, if it was.
func childMain() (isChild bool) {
	spec := os.Getenv(roleVariable)
	if spec == "" {
		return false
	}
	if err := runChild(spec); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
	return true
}
