package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"testing"
	"time"
)

// A child process is told what it is by roleVariable, a spec in JSON. It answers its address in one line on standard
// output, then each order on standard input with one line, and ends with standard input.

const roleVariable = "SHOAL_BENCH_ROLE"

// spec is what a child process is to be.
type spec struct {
	Role    string // roleGateway, roleFloor or roleFlood
	Workers int    // of a gateway; 0: the default
	URL     string // where a flood goes
	Tasks   int    // that a flood keeps queued
}

const (
	roleGateway = "gateway"
	roleFloor   = "floor"
	roleFlood   = "flood"
)

type order struct {
	Do   string // usage, collect, profile, endprofile, start, stop
	Path string // of the profile
}

type reply struct {
	Address string `json:",omitempty"`
	Error   string `json:",omitempty"`
	Usage   usage
	Done    int // tasks answered to a flood
}

// worker is what a child process does.
type worker interface {
	address() string
	order(do string) int // start and stop
	close() error
}

// runChild is the main function of a child process.
func runChild() error {
	var s spec
	if err := json.Unmarshal([]byte(os.Getenv(roleVariable)), &s); err != nil {
		return err
	}
	w, err := startWorker(s)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(reply{Address: w.address()}); err != nil {
		return err
	}
	orders := json.NewDecoder(os.Stdin)
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			return w.close()
		} else if err != nil {
			return err
		}
		r, err := obey(w, o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func startWorker(s spec) (worker, error) {
	switch s.Role {
	case roleGateway:
		return newGatewayWorker(s)
	case roleFloor:
		return newFloorServer()
	case roleFlood:
		return newFlood(s)
	}
	return nil, fmt.Errorf("no role %q", s.Role)
}

func obey(w worker, o order) (reply, error) {
	switch o.Do {
	case "usage":
		return reply{Usage: usageNow()}, nil
	case "collect":
		collect()
		return reply{Usage: usageNow()}, nil
	case "profile":
		return reply{}, startProfile(o.Path)
	case "endprofile":
		pprof.StopCPUProfile()
		return reply{}, nil
	}
	return reply{Done: w.order(o.Do)}, nil
}

// collect leaves in memory only what is in use.
func collect() {
	runtime.GC()
	debug.FreeOSMemory()
}

func startProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f) // the file is complete when the profile stops
}

// child is a child process as its parent sees it.
type child struct {
	b       *testing.B
	address string
	in      *json.Encoder
	out     *json.Decoder
}

// startChild starts a child process that ends with the benchmark.
func startChild(b *testing.B, s spec) *child {
	b.Helper()
	self, err := os.Executable()
	check(b, err)
	role, err := json.Marshal(s)
	check(b, err)
	cmd := exec.Command(self)
	if nice, err := exec.LookPath("nice"); err == nil && s.Role == roleFlood {
		// Three busy processes share two cores in slices of milliseconds; what the kernel gives to whom is not what the
		// load is to show.
		cmd = exec.Command(nice, "-n", "19", self)
	}
	cmd.Env = append(os.Environ(), roleVariable+"="+string(role))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(b, err)
	stdout, err := cmd.StdoutPipe()
	check(b, err)
	check(b, cmd.Start())
	b.Cleanup(func() {
		_ = stdin.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
	})
	c := &child{b: b, in: json.NewEncoder(stdin), out: json.NewDecoder(bufio.NewReader(stdout))}
	var hello reply
	check(b, c.out.Decode(&hello))
	c.address = hello.Address
	return c
}

// ask gives an order and waits for the reply.
func (c *child) ask(o order) reply {
	c.b.Helper()
	var r reply
	check(c.b, c.in.Encode(o))
	check(c.b, c.out.Decode(&r))
	if r.Error != "" {
		c.b.Fatal(r.Error)
	}
	return r
}

func (c *child) usage() usage   { return c.ask(order{Do: "usage"}).Usage }
func (c *child) collect() usage { return c.ask(order{Do: "collect"}).Usage }

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
