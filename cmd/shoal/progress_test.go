package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressLine(t *testing.T) {
	tasks := progressState{progressOptions: progressOptions{Unit: "tasks", Total: 512}, done: 312, failed: 3, rate: 100}
	unknown := progressState{progressOptions: progressOptions{Unit: "tasks"}, done: 5, rate: 1.25}
	file := progressState{progressOptions: progressOptions{Label: "a.log", Unit: "bytes", Total: 5 << 20}, done: 1 << 20, rate: 1000}
	wide := progressState{progressOptions: progressOptions{Label: "世界", Unit: "files"}, done: 7}
	begin := progressState{progressOptions: progressOptions{Unit: "tasks", Total: 10}}
	end := progressState{progressOptions: progressOptions{Unit: "tasks", Total: 10}, done: 10}
	for _, c := range []struct {
		state progressState
		width int
		want  string
	}{
		{tasks, 79, "312/512 tasks done, 3 failed, 0:02 left, 100 tasks/s"},
		{tasks, 52, "312/512 tasks done, 3 failed, 0:02 left, 100 tasks/s"},
		{tasks, 51, "312/512 tasks done, 3 failed, 0:02 left"},
		{tasks, 30, "312/512 tasks done, 3 failed"},
		{tasks, 20, "312/512 tasks done"},
		{tasks, 7, "312/512"},
		{tasks, 0, ""},
		{tasks, -1, ""},
		{unknown, 79, "5 tasks done, 0 failed, 1.2 tasks/s"},
		{file, 79, "a.log: 1.0 MiB/5.0 MiB done, 0 failed, 1:09:54 left, 1000 B/s"},
		{wide, 20, "世界: 7 files done"},
		{wide, 5, "世界:"},
		{wide, 3, "世"},
		{begin, 79, "0/10 tasks done, 0 failed, -:-- left, 0.0 tasks/s"},
		{end, 79, "10/10 tasks done, 0 failed, 0:00 left, 0.0 tasks/s"},
	} {
		if got := c.state.line(c.width); got != c.want || columns(got) > max(0, c.width) {
			t.Errorf("width %d: got %q, want %q", c.width, got, c.want)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1023.96: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB",
		3 << 30: "3.0 GiB", 1 << 40: "1.0 TiB", 1 << 60: "1048576.0 TiB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%f: got %s, want %s", n, got, want)
		}
	}
}

// terminal records what is written to it.
type terminal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *terminal) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

// take is what was written since the last call, with the erasures as ⌫.
func (w *terminal) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.buf.Reset()
	return strings.ReplaceAll(w.buf.String(), "\r\x1b[K", "⌫")
}

func TestProgressIsDrawnAndCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out terminal
		p := startProgress(&out, progressOptions{Total: 100, Label: "a\x1b"}, func() int { return 80 }, nil)
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := out.take(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		p.set(1, 0)
		expect("")
		time.Sleep(redrawEvery)
		expect(`⌫a\x1b: 1/100 tasks done, 0 failed, 0:10 left, 10 tasks/s`)
		p.set(2, 1)
		expect("")
		time.Sleep(redrawEvery)
		expect(`⌫a\x1b: 2/100 tasks done, 1 failed, 0:10 left, 10 tasks/s`)
		b := &besideLine{&p.statusLine, &out}
		_, _ = b.Write([]byte("x\n"))
		expect("⌫x\n")
		_, _ = b.Write([]byte("y\n"))
		expect("y\n")
		p.set(3, 1)
		time.Sleep(redrawEvery)
		expect(`⌫a\x1b: 3/100 tasks done, 1 failed, 0:10 left, 10 tasks/s`)
		p.close()
		expect("⌫")
		p.close()
		time.Sleep(time.Hour)
		expect("")
	})
}

func TestProgressRateFollowsTheLastSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out terminal
		p := startProgress(&out, progressOptions{Total: 1000}, func() int { return 80 }, nil)
		defer p.close()
		p.set(500, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := out.take(); !strings.HasSuffix(got, "500/1000 tasks done, 0 failed, -:-- left, 0.0 tasks/s") {
			t.Errorf("after a minute of nothing: %q", got)
		}
	})
}

func TestProgressIsDrawnTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out terminal
		p := startProgress(&out, progressOptions{}, func() int { return 80 }, nil)
		for n := range int64(10_000) {
			p.set(n, 0)
			time.Sleep(time.Millisecond)
		}
		p.close()
		if n := strings.Count(out.take(), "⌫"); n < 90 || n > 101 {
			t.Errorf("drawn %d times in ten seconds", n)
		}
	})
}

// Where standard error is no terminal, nothing is drawn, and results are not held up.
func TestProgressOffTerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := newProgress(file, progressOptions{Total: 1})
	p.set(1, 0)
	if out := newOutput(file); p.beside(out) != out {
		t.Error("a file is written through the progress line")
	}
	time.Sleep(2 * redrawEvery)
	p.close()
	p.close()
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes drawn, %v", info.Size(), err)
	}
}

func BenchmarkProgressSet(b *testing.B) {
	p := &progress{}
	for b.Loop() {
		p.set(1, 0)
	}
}
