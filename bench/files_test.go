package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/netio"
	"shoal/netio/files"
)

// filesRounds is how often each way of carrying files is measured; they take turns.
const filesRounds = 5

// filesBench is a place on a memory file system, and who serves what is in it.
type filesBench struct {
	b       *testing.B
	dir     string
	shoal   string // the built binary
	gateway string // serves src, and dst writable
	rsync   string // its daemon's URL; empty: there is none
	rclone  string // its HTTP server's URL; empty: there is none
	server  *os.Process
	times   map[string][]float64
	peak    map[string]int64 // bytes, of processes of shoal
}

// BenchmarkFiles: the Go installation's own tree, and one file of 1 GiB, beside cp, rsync's daemon, rclone and tar through
// a socket, all on a memory file system, warm. Every process has both cores.
func BenchmarkFiles(b *testing.B) {
	f := newFilesBench(b)
	rounds := filesRounds
	if planFor(b).brief {
		rounds = 1
	}
	b.Run("tree", func(b *testing.B) { f.tree(b, rounds) })
	b.Run("large", func(b *testing.B) { f.large(b, rounds) })
	b.Run("calls", func(b *testing.B) { f.calls(b) })
}

func newFilesBench(b *testing.B) *filesBench {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		b.Skip("needs a memory file system at /dev/shm: on a disk the figures vary tenfold from run to run")
	}
	dir, err := os.MkdirTemp(base, "shoal-bench-")
	check(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &filesBench{b: b, dir: dir, shoal: dir + "/bin/shoal", times: map[string][]float64{}, peak: map[string]int64{}}
	f.command("go", "build", "-o", f.shoal, "shoal/cmd/shoal")
	for _, name := range []string{"src", "dst", "out", "big"} {
		check(b, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	check(b, err)
	f.command("cp", "-a", strings.TrimSpace(string(goroot))+"/.", dir+"/src")
	f.startGateway()
	f.startRsync()
	f.startRclone()
	return f
}

// command runs something to its end.
func (f *filesBench) command(name string, args ...string) *os.ProcessState {
	f.b.Helper()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.b.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return cmd.ProcessState
}

// background starts something that ends with the benchmark.
func (f *filesBench) background(name string, args ...string) *os.Process {
	f.b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	check(f.b, cmd.Start())
	f.b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process
}

func (f *filesBench) startGateway() {
	ready := f.dir + "/ready"
	f.server = f.background(f.shoal, "server", "--root", f.dir, "--writable", "--demo", "--ready-file", ready,
		"--listen", "tcp://127.0.0.1:0", "--log-level", "error")
	for range 500 {
		if text, err := os.ReadFile(ready); err == nil {
			f.gateway = strings.TrimSpace(string(text))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.b.Fatal("the gateway does not serve")
}

func (f *filesBench) startRsync() {
	if _, err := exec.LookPath("rsync"); err != nil {
		f.b.Log("without rsync: it is not installed (apt-get install rsync)")
		return
	}
	port := f.freePort()
	config := f.dir + "/rsyncd.conf"
	check(f.b, os.WriteFile(config, fmt.Appendf(nil, "use chroot = no\nuid = %d\ngid = %d\n[all]\npath = %s\nread only = no\n",
		os.Getuid(), os.Getgid(), f.dir), 0o600))
	f.background("rsync", "--daemon", "--no-detach", "--address", "127.0.0.1", "--port", port, "--config", config)
	f.rsync = "rsync://127.0.0.1:" + port + "/all/"
	time.Sleep(300 * time.Millisecond)
}

// startRclone serves the folder by HTTP, which is what rclone has without an account somewhere.
func (f *filesBench) startRclone() {
	if _, err := exec.LookPath("rclone"); err != nil {
		f.b.Log("without rclone: it is not installed (apt-get install rclone)")
		return
	}
	address := "127.0.0.1:" + f.freePort()
	f.background("rclone", "serve", "http", "-q", "--read-only", "--addr", address, f.dir)
	f.rclone = "http://" + address
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.b.Fatal("rclone does not serve")
}

// freePort returns a port that nobody listens on: another run may have servers of its own.
func (f *filesBench) freePort() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(f.b, err)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	check(f.b, err)
	check(f.b, ln.Close())
	return port
}

// timed measures one round of something and returns the process it was.
func (f *filesBench) timed(what string, name string, args ...string) {
	f.b.Helper()
	began := time.Now()
	state := f.command(name, args...)
	f.times[what] = append(f.times[what], time.Since(began).Seconds())
	if name == f.shoal {
		f.peak["client"] = max(f.peak["client"], state.SysUsage().(*syscall.Rusage).Maxrss<<10)
	}
}

func (f *filesBench) client(what string, args ...string) {
	f.b.Helper()
	f.timed(what, f.shoal, append([]string{"client", "--gateway", f.gateway, "-q"}, args...)...)
}

func (f *filesBench) clear() {
	for _, name := range []string{"dst", "out"} {
		check(f.b, os.RemoveAll(filepath.Join(f.dir, name)))
		check(f.b, os.Mkdir(filepath.Join(f.dir, name), 0o755))
	}
}

func (f *filesBench) tree(b *testing.B, rounds int) {
	src, out := f.dir+"/src", f.dir+"/out"
	for range rounds {
		f.clear()
		f.timed("cp", "cp", "-r", src, out)
		f.clear()
		f.client("get", "get", "src/", "--to", out)
		f.client("get again", "get", "src/", "--to", out)
		f.clear()
		f.client("put", "put", src+"/", "--to", "dst")
		f.client("put again", "put", src+"/", "--to", "dst")
		f.clear()
		if f.rsync != "" {
			f.timed("rsync get", "rsync", "-a", f.rsync+"src/", out)
			f.timed("rsync get again", "rsync", "-a", f.rsync+"src/", out)
			f.clear()
			f.timed("rsync put", "rsync", "-a", src+"/", f.rsync+"dst/")
			f.timed("rsync put again", "rsync", "-a", src+"/", f.rsync+"dst/")
			f.clear()
		}
		if f.rclone != "" {
			f.timed("rclone get", "rclone", "copy", "-q", "--http-url", f.rclone, "--transfers", "16", ":http:src", out)
			f.clear()
		}
		f.timed("tar", "bash", "-c", tarPipe(src, out))
	}
	f.clear()
	for _, what := range []string{"cp", "tar", "get", "rsync get", "put", "rsync put", "rclone get", "get again", "rsync get again",
		"put again", "rsync put again"} {
		f.row(b, "files: the tree of the Go installation", what, "cp")
	}
	f.reportRatio(b, "get", "tar")
}

// tarPipe is a tar whose output goes through a TCP connection into another.
func tarPipe(src, out string) string {
	return fmt.Sprintf(`set -e
python3 -c '
import socket,subprocess,sys,threading
s=socket.socket(); s.bind(("127.0.0.1",0)); s.listen()
def send():
    c=socket.create_connection(s.getsockname())
    subprocess.run(["tar","c","-C",sys.argv[1],"."],stdout=c,check=True); c.close()
t=threading.Thread(target=send); t.start()
c,_=s.accept()
subprocess.run(["tar","x","-C",sys.argv[2]],stdin=c,check=True); t.join()
' %q %q`, src, out)
}

func (f *filesBench) large(b *testing.B, rounds int) {
	size := int64(1 << 30)
	if rounds == 1 {
		size = 128 << 20
	}
	big := f.dir + "/big/file"
	f.command("bash", "-c", fmt.Sprintf("head -c %d /dev/urandom > %q", size, big))
	for range rounds {
		for _, what := range []string{"cp 1 GiB", "get 1 GiB", "put 1 GiB", "rsync get 1 GiB"} {
			switch {
			case what == "cp 1 GiB":
				f.timed(what, "cp", big, f.dir+"/out/file")
			case what == "get 1 GiB":
				f.client(what, "--connections", "4", "get", "big/file", "--to", f.dir+"/out")
			case what == "put 1 GiB":
				f.client(what, "--connections", "4", "put", big, "--to", "dst")
			case f.rsync != "":
				f.timed(what, "rsync", "-a", f.rsync+"big/file", f.dir+"/out/file")
			}
			f.clear()
		}
	}
	check(b, os.Remove(big))
	for _, what := range []string{"cp 1 GiB", "get 1 GiB", "put 1 GiB", "rsync get 1 GiB"} {
		f.row(b, "files: one of 1 GiB, 4 connections", what, "cp 1 GiB")
	}
	f.reportRatio(b, "get 1 GiB", "cp 1 GiB")
	f.peak["gateway"] = peakOf(f.server.Pid)
	for _, who := range []string{"gateway", "client"} {
		row(b, "files: memory", []string{"process", "peak MiB"}, who, num(float64(f.peak[who])/(1<<20)))
		b.ReportMetric(float64(f.peak[who])/(1<<20), who+"-peak-MiB")
	}
}

func peakOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// reportRatio reports the median of the ratios of two ways in the same round.
func (f *filesBench) reportRatio(b *testing.B, what, beside string) {
	var ratios []float64
	for i, took := range f.times[what] {
		ratios = append(ratios, took/f.times[beside][i])
	}
	b.ReportMetric(latency.Median(ratios), strings.ReplaceAll(what+"/"+beside, " ", "-"))
}

// row reports a median, and the median of the ratios to another way in the same round.
func (f *filesBench) row(b *testing.B, title, what, beside string) {
	times := f.times[what]
	if len(times) == 0 {
		return
	}
	ratios := make([]float64, len(times))
	for i := range times {
		ratios[i] = times[i] / f.times[beside][i]
	}
	low := slices.Min(times)
	slices.Sort(ratios)
	sorted := slices.Sorted(slices.Values(times))
	median := sorted[len(sorted)/2]
	row(b, title, []string{"what", "seconds", "least", "times " + beside}, what, fmt.Sprintf("%.2f", median),
		fmt.Sprintf("%.2f", low), fmt.Sprintf("%.2f", ratios[len(ratios)/2]))
	b.ReportMetric(median, strings.ReplaceAll(what, " ", "-")+"-s")
}

// calls measures single calls on a swarm that carries files at full speed meanwhile.
func (f *filesBench) calls(b *testing.B) {
	sw := dialShoal(b, f.gateway, netio.SwarmConfig{Connections: 4})
	c := files.NewClient(sw)
	for _, way := range []string{"get", "put"} {
		f.clear()
		ctx, cancel := context.WithCancel(b.Context())
		var carrying sync.WaitGroup
		carrying.Go(func() {
			defer cancel()
			var err error
			if way == "get" {
				_, err = c.Get(ctx, files.Selection{Patterns: []string{"src/"}}, f.dir+"/out", files.Options{})
			} else {
				_, err = c.PutFolder(ctx, f.dir, files.Selection{Patterns: []string{"src/"}}, "dst", files.Options{})
			}
			if err != nil {
				b.Error(err)
			}
		})
		var took []time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := sw.Call(b.Context(), "square", []byte("12")); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		carrying.Wait()
		slices.Sort(took)
		p50, p99 := took[len(took)/2], took[len(took)*99/100]
		row(b, "files: single calls on the same swarm meanwhile", []string{"while", "calls", "p50 ms", "p99 ms", "most ms"}, way,
			fmt.Sprint(len(took)), millis(p50), millis(p99), millis(took[len(took)-1]))
		b.ReportMetric(float64(p99)/1e6, way+"-p99-ms")
	}
	f.clear()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }
