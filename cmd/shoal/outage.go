package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"shoal/netio"
)

// outage says so when no connection to the gateway is left, what happens next, and when it is back: without that a person
// sees a run that stands still. Its method may be called by several goroutines.
type outage struct {
	say    func(line string)
	url    string
	giveUp time.Duration

	mu   sync.Mutex // guards what follows
	up   int        // connections
	lost bool
}

// outage makes one for the gateway of the command line.
func (c *clientCommand) outage(say func(line string)) *outage {
	return &outage{say: say, url: c.url(), giveUp: max(c.GiveUp, c.Wait)}
}

// sayLine prints a line that stays, also where a line of progress may stand.
func sayLine(w *os.File, line string) {
	if mayDraw(w) {
		_, _ = io.WriteString(w, eraseLine)
	}
	_, _ = io.WriteString(w, visible(line)+"\n")
}

func (o *outage) happened(e netio.ConnectionEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e.State {
	case netio.ConnectionNew, netio.ConnectionResumed:
		if o.up++; o.lost {
			o.lost = false
			o.say(fmt.Sprintf("shoal: gateway %s is back", o.url))
		}
	case netio.ConnectionLost:
		if o.up--; o.up == 0 {
			o.lost = true
			o.say(fmt.Sprintf("shoal: gateway %s lost (%s): trying again for %v, then what it had under way counts as lost", o.url, rootCause(e.Err), o.giveUp))
		}
	}
}
