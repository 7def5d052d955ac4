package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	redrawEvery = 100 * time.Millisecond
	rateWindow  = 50 // the rate is that of so many redraws, so that it follows what happens now
	unitBytes   = "bytes"
	plainWidth  = 1000 // of a line that is no terminal's
)

// progressOptions say what a progress line counts; the zero value counts tasks without a known end.
type progressOptions struct {
	Label string // before the numbers, such as a file's name
	Unit  string // a plural, "tasks" when empty; "bytes" are shown as KiB, MiB, …
	Total int64  // 0: not known
	Quiet bool   // --quiet

	Before int64         // of Total: done in an earlier run
	Plain  time.Duration // where there is no terminal, a line so often; 0: none
}

// progress is a line on a terminal that is drawn again and again while work goes on. Where the line is not wanted, it only
// counts.
type progress struct {
	done, failed atomic.Int64

	statusLine
	width func() int
	opts  progressOptions
	begun time.Time

	once    sync.Once
	closing chan struct{}
	closed  chan struct{}
}

// newProgress shows progress on w, standard error, when that is a terminal and neither Quiet nor NO_COLOR asks for calm.
// The caller closes it.
func newProgress(w *os.File, opts progressOptions) *progress {
	switch {
	case opts.Quiet:
		return &progress{}
	case mayDraw(w):
		opts.Plain = 0
		return startProgress(w, opts, func() int { return terminalWidth(w) }, func() bool { return inBackground(w) })
	case opts.Plain > 0:
		return startProgress(w, opts, nil, nil)
	}
	return &progress{statusLine: statusLine{notes: w}}
}

func startProgress(w io.Writer, opts progressOptions, width func() int, hidden func() bool) *progress {
	if opts.Unit == "" {
		opts.Unit = "tasks"
	}
	opts.Label = string(appendTextField(nil, opts.Label, false)) // a file's name may hold what terminals obey
	p := &progress{statusLine: statusLine{w: w, notes: w, hidden: hidden}, width: width, opts: opts, begun: time.Now(),
		closing: make(chan struct{}), closed: make(chan struct{})}
	go p.redraw()
	return p
}

// set says how far the work is; failed are among the done. It costs two stores, and may be called by any goroutine.
func (p *progress) set(done, failed int64) {
	p.done.Store(done)
	p.failed.Store(failed)
}

// close takes the line off the terminal for good and waits until it is gone.
func (p *progress) close() {
	if p.w == nil {
		return
	}
	p.once.Do(func() { close(p.closing) })
	<-p.closed
}

// redraw is the goroutine of a progress line; close ends it.
func (p *progress) redraw() {
	defer close(p.closed)
	every := redrawEvery
	if p.opts.Plain > 0 {
		every = p.opts.Plain
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	type sample struct {
		at   time.Time
		done int64
	}
	samples := []sample{{at: p.begun}}
	for {
		select {
		case <-p.closing:
			p.draw("")
			return
		case now := <-tick.C:
			state := progressState{progressOptions: p.opts, done: p.done.Load(), failed: p.failed.Load()}
			if since := now.Sub(samples[0].at).Seconds(); since > 0 {
				state.rate = max(0, float64(state.done-samples[0].done)/since)
			}
			if samples = append(samples, sample{now, state.done}); len(samples) > rateWindow {
				samples = append(samples[:0], samples[1:]...)
			}
			if state.done += p.opts.Before; p.opts.Plain > 0 {
				p.note(state.line(plainWidth))
				continue
			}
			p.draw(state.line(p.width() - 1)) // a full line would wrap on some terminals
		}
	}
}

// progressState is what one drawing of the line shows.
type progressState struct {
	progressOptions
	done, failed int64
	rate         float64 // units a second
}

// line is at most width columns wide: what matters least is left out first.
func (s *progressState) line(width int) string {
	text := s.amount(s.done)
	if s.Total > 0 {
		text += "/" + s.amount(s.Total)
	}
	perSecond := formatBytes(s.rate)
	if s.Unit != unitBytes {
		text += " " + s.Unit
		perSecond = formatRate(s.rate) + " " + s.Unit
	}
	text += " done"
	if s.Label != "" {
		text = s.Label + ": " + text
	}
	parts := []string{text, fmt.Sprintf(", %d failed", s.failed)}
	if s.Total > 0 {
		parts = append(parts, ", "+s.timeLeft()+" left")
	}
	parts = append(parts, ", "+perSecond+"/s")
	return fitParts(parts, width)
}

func (s *progressState) amount(n int64) string {
	if s.Unit == unitBytes {
		return formatBytes(float64(n))
	}
	return strconv.FormatInt(n, 10)
}

// timeLeft is minutes and seconds, with hours where there are any.
func (s *progressState) timeLeft() string {
	const longest = 1000 * 3600
	seconds := float64(max(0, s.Total-s.done)) / s.rate
	if s.done >= s.Total {
		seconds = 0
	}
	if !(s.rate > 0 || seconds == 0) || seconds > longest {
		return "-:--"
	}
	n := int64(seconds + 0.5)
	if n >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", n/3600, n/60%60, n%60)
	}
	return fmt.Sprintf("%d:%02d", n/60, n%60)
}

// formatRate has a decimal only where it tells something.
func formatRate(rate float64) string {
	if rate < 9.95 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return strconv.FormatFloat(rate, 'f', 0, 64)
}

func formatBytes(n float64) string {
	unit := 0
	for n >= 1023.95 && unit < 4 {
		n /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f %ciB", n, "KMGT"[unit-1])
}
