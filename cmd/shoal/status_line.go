package main

import (
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// statusLine is a line on a terminal that is drawn again and again in its own place, and makes way for lines of results.
// All methods are safe for concurrent use.
type statusLine struct {
	w      io.Writer   // nil: never drawn
	notes  io.Writer   // where lines go that stay; nil: nowhere
	hidden func() bool // whether the terminal is somebody else's now; nil: never

	mu    sync.Mutex // guards what stands on the terminal, and keeps results and the line apart
	drawn string
}

// eraseLine takes away what stands in the line of the cursor.
const eraseLine = "\r\x1b[K"

// draw puts line in the place of what was drawn; an empty one takes it away.
func (l *statusLine) draw(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drawLocked(line)
}

func (l *statusLine) drawLocked(line string) {
	if l.w == nil || line == l.drawn || l.hidden != nil && l.hidden() {
		return
	}
	l.drawn = line
	// An error here means that the terminal has gone; the work goes on without it.
	_, _ = io.WriteString(l.w, eraseLine+line)
}

// note prints a line that stays. A peer may have written some of it.
func (l *statusLine) note(line string) {
	line = visible(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drawLocked("")
	if l.notes != nil {
		_, _ = io.WriteString(l.notes, line+"\n")
	}
}

// beside returns a writer to o for lines that may come while the line is drawn, results for example. Where o is a terminal
// too, the line makes way for each write; what is written must end in a line feed.
func (l *statusLine) beside(o *output) io.Writer {
	if l.w == nil || !isTerminal(o.file) {
		return o
	}
	return &besideLine{l, o}
}

type besideLine struct {
	line *statusLine
	w    io.Writer
}

func (b *besideLine) Write(lines []byte) (int, error) {
	b.line.mu.Lock()
	defer b.line.mu.Unlock()
	b.line.drawLocked("")
	return b.w.Write(lines)
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// mayDraw reports whether f is a terminal on which lines may be drawn again and again.
func mayDraw(f *os.File) bool {
	return isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// inBackground reports whether a terminal belongs to other processes now: to a shell, say, that waits for a command.
func inBackground(f *os.File) bool {
	foreground, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground != unix.Getpgrp()
}

// terminalWidth returns the columns of a terminal, or a guess.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// fitParts joins what fits into width columns: the first part as far as it does, the others whole, up to one that does not.
func fitParts(parts []string, width int) string {
	var b strings.Builder
	for i, part := range parts {
		fitting := fit(part, width)
		if i > 0 && fitting < len(part) {
			break
		}
		b.WriteString(part[:fitting])
		width -= columns(part[:fitting])
	}
	return b.String()
}

// columns is how wide text is at most on a terminal.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r >= 0x1100 { // from here on there are wide ones
		return 2
	}
	return 1
}

// fit is how many bytes of text fit into width columns.
func fit(text string, width int) int {
	for i, r := range text {
		if width -= runeColumns(r); width < 0 {
			return i
		}
	}
	return len(text)
}
