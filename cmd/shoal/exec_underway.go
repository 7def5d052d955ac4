package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"shoal/netio/rollout"
)

// shownUnderway is how many tasks are named one by one.
const shownUnderway = 20

// writeUnderway names the tasks that have started and not ended, the oldest first, and since when.
func writeUnderway(w io.Writer, list []rollout.Underway) {
	if len(list) == 0 {
		fmt.Fprintln(w, "under way: nothing")
		return
	}
	now := time.Now()
	for _, t := range list[:min(len(list), shownUnderway)] {
		line := fmt.Sprintf("under way: %s for %.1f s", appendTextField(nil, t.Target, false), now.Sub(t.Since).Seconds())
		if t.Attempt > 1 {
			line += fmt.Sprintf(", attempt %d", t.Attempt)
		}
		fmt.Fprintln(w, line)
	}
	if more := list[min(len(list), shownUnderway):]; len(more) > 0 {
		hosts := make([]string, len(more))
		for i, t := range more {
			hosts[i] = t.Target
		}
		fmt.Fprintf(w, "under way: %d more: %s\n", len(more), shorten(fold(hosts)))
	}
}

// besideStderr returns a writer for lines on standard error that may come while the line is drawn there.
func (l *statusLine) besideStderr(stderr *os.File) io.Writer {
	if l.w == nil {
		return stderr
	}
	return &besideLine{l, stderr}
}

// showOnSignal calls show at each SIGUSR1, until the function that it returns is called.
func showOnSignal(show func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
				show()
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(stopped)
		<-done
	}
}
