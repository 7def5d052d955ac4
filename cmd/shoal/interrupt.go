package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// interrupt is what the signals that end a process do to a command. The first ends the command's context: what is under way is
// cancelled, what has come is shown. The second calls hurry, which waits for no answer any more; without it, it ends the
// process. Should even that take long, the process ends by itself, or with the third signal.
type interrupt struct {
	exit    func(status int)
	output  *output
	reloads bool // SIGHUP is not one of these: it reads a table again

	signal atomic.Int32 // the first; 0: none yet
	hurry  atomic.Pointer[func()]
}

const (
	blockedTime = time.Second     // how long an interrupted process tries to write to who does not read
	hurryTime   = 3 * time.Second // how long it may go on after the second signal
)

// watch returns a context that ends with the first interrupt. The function ends watching.
func (i *interrupt) watch(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !i.reloads && !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	giveUp := make(chan struct{})
	i.output.giveUp.Store(&giveUp)
	stopped := make(chan struct{})
	go func() { // ends with the function that watch returns
		defer signal.Stop(signals)
		for count := 1; ; count++ {
			select {
			case s := <-signals:
				i.signalled(count, s.(syscall.Signal), cancel, giveUp)
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() { cancel(); close(stopped) }
}

func (i *interrupt) signalled(count int, s syscall.Signal, cancel func(), giveUp chan struct{}) {
	switch count {
	case 1:
		i.signal.Store(int32(s))
		cancel()
		time.AfterFunc(blockedTime, func() { close(giveUp) })
	case 2:
		hurry := i.hurry.Load()
		if hurry == nil {
			i.exit(i.status())
			return
		}
		go (*hurry)()
		time.AfterFunc(hurryTime, func() { i.exit(i.status()) })
	default:
		i.exit(i.status())
	}
}

// status is the exit status of a process that was interrupted, as shells have it: 130 after Ctrl+C, 143 after SIGTERM.
func (i *interrupt) status() int {
	if s := i.signal.Load(); s != 0 {
		return 128 + int(s)
	}
	return exitInterrupted
}

// interrupted is the outcome of a command that was interrupted.
func (p *process) interrupted() error { return &exitError{status: p.interrupt.status()} }

// interruptedWith is interrupted, with what else went wrong.
func (p *process) interruptedWith(err error) error {
	if !errors.Is(err, errNotRead) {
		err = nil
	}
	return &exitError{p.interrupt.status(), err}
}
