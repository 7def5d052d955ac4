package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"shoal/netio"
	"shoal/netio/files"
)

// filesReport is what a person or a program sees of a transfer: a line for each file on standard output, progress and a
// summary on standard error.
//
// jsonl is an object a line, always with these members in this order:
//
//	path    string  at the source; of what was deleted, at the target
//	action  string  copied, kept, made (a folder), linked, deleted, failed; in a dry run, what would be
//	kind    string  file, folder, link; problem: something that is none of these, or not there
//	size    number  bytes of a file
//	error   string  what went wrong; "" unless the action is failed
//
// A path that is not valid UTF-8 stands in path_base64 instead.
type filesReport struct {
	p        *process
	jsonl    bool
	lines    bool
	quiet    bool
	progress *filesProgress
	out      io.Writer
	buf      []byte
	flushed  time.Time
	err      error
}

func newFilesReport(p *process, client *clientCommand, output string, lines bool) *filesReport {
	r := &filesReport{p: p, jsonl: output == "jsonl", lines: lines, quiet: client.Quiet, progress: newFilesProgress(p.stderr, client)}
	r.out = r.progress.beside(p.stdout)
	return r
}

// each takes one result; files calls it from one goroutine at a time.
func (r *filesReport) each(one files.Result) {
	switch {
	case r.err != nil:
		return
	case r.jsonl:
		r.buf = appendResultJSON(r.buf, one)
	case !r.lines || one.Action == files.Kept:
		return
	default:
		r.buf = append(append(r.buf, one.Action...), '\t')
		r.buf = appendTextField(r.buf, one.Path, false)
		if one.Err != nil {
			r.buf = appendTextField(append(r.buf, '\t'), reasonOf(one.Err), true)
		}
		r.buf = append(r.buf, '\n')
	}
	if len(r.buf) >= outputBuffer || time.Since(r.flushed) > redrawEvery {
		r.flush()
	}
}

func (r *filesReport) flush() {
	if r.err == nil && len(r.buf) > 0 {
		_, r.err = r.out.Write(r.buf)
	}
	r.buf, r.flushed = r.buf[:0], time.Now()
}

func appendResultJSON(dst []byte, one files.Result) []byte {
	dst = appendJSONPath(append(dst, '{'), one.Path)
	text := ""
	if one.Err != nil {
		text = reasonOf(one.Err)
	}
	kind := one.Kind.String()
	if one.Action == files.Deleted {
		kind = ""
	}
	dst = fmt.Appendf(dst, `,"action":"%s","kind":"%s","size":%d,"error":`, one.Action, kind, one.Size)
	return append(appendJSONString(dst, strings.ToValidUTF8(text, "\ufffd")), "}\n"...)
}

func appendJSONPath(dst []byte, path string) []byte {
	if utf8.ValidString(path) {
		return appendJSONString(append(dst, `"path":`...), path)
	}
	dst = append(dst, `"path_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, []byte(path)), '"')
}

// reasonOf is why a file failed, without its path.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*files.Error](err); ok {
		return (&files.Error{Code: e.Code, Text: e.Text}).Error()
	}
	return err.Error()
}

// end prints the summary and returns the command's outcome.
func (r *filesReport) end(ctx context.Context, verb string, sum files.Summary, dryRun bool, err error) error {
	r.flush()
	r.progress.close()
	if !r.quiet {
		r.summary(verb, sum, dryRun)
	}
	switch {
	case ctx.Err() != nil:
		return r.p.interruptedWith(r.err)
	case err != nil:
		return filesError(err)
	case r.err != nil && (sum.Failed == 0 || !hadEnough(r.err)):
		return r.err
	case sum.Failed > 0:
		return &exitError{status: exitFailed}
	}
	return nil
}

const shownFailures = 100

func (r *filesReport) summary(verb string, sum files.Summary, dryRun bool) {
	var b strings.Builder
	for i, f := range sum.Failures {
		if i == shownFailures {
			fmt.Fprintf(&b, "… and %d more; --output jsonl has all of them\n", sum.Failed-shownFailures)
			break
		}
		fmt.Fprintf(&b, "failed: %s: %s\n", appendTextField(nil, f.Path, false), appendTextField(nil, reasonOf(f.Err), false))
	}
	if sum.NotDeleted {
		b.WriteString("nothing was deleted, since not everything went well\n")
	}
	if dryRun {
		verb = "would have " + verb
	}
	fmt.Fprintf(&b, "%s %s", verb, counted(int(sum.Copied), "file"))
	for _, part := range []struct {
		n    int64
		text string
	}{{sum.Kept, "kept"}, {sum.Folders, "folders made"}, {sum.Links, "links"}, {sum.Deleted, "deleted"}, {sum.Failed, "failed"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.text)
		}
	}
	fmt.Fprintf(&b, "; %s in %.3f s", formatBytes(float64(sum.Bytes)), sum.Elapsed.Seconds())
	if sum.Elapsed > 0 && sum.Bytes > 0 {
		fmt.Fprintf(&b, ", %s/s", formatBytes(float64(sum.Bytes)/sum.Elapsed.Seconds()))
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(r.p.stderr, b.String())
}

// filesError gives an error of a whole transfer its exit status and says what to do.
func filesError(err error) error {
	switch {
	case errors.Is(err, files.ErrUnavailable):
		return &exitError{exitFailed, fmt.Errorf("%w; start it with --root DIR", err)}
	case errors.Is(err, files.ErrReadOnly):
		return &exitError{exitFailed, fmt.Errorf("%w; start it with --writable", err)}
	case errors.Is(err, files.ErrName), errors.Is(err, files.ErrOutside), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return usage("%w", err)
	case errors.Is(err, netio.ErrLost), errors.Is(err, netio.ErrUnreachable):
		return &exitError{exitUnknown, fmt.Errorf("%w; run the same command again to go on", err)}
	}
	return err
}

// plainEvery is how often progress is a line where there is no terminal, unless --stats says so.
const plainEvery = 5 * time.Second

// filesProgress shows how far a transfer is: a line that is drawn again and again on a terminal, a line now and then
// elsewhere.
type filesProgress struct {
	statusLine
	f     *os.File // nil: nothing is shown
	every time.Duration
	last  time.Time // of the last plain line

	// The rate as of the last look; only the goroutine that calls show uses it.
	rate  float64
	bytes int64
	at    time.Time
}

func newFilesProgress(f *os.File, client *clientCommand) *filesProgress {
	now := time.Now()
	p := &filesProgress{last: now, at: now, every: plainEvery}
	if client.Stats > 0 {
		p.every = client.Stats
	}
	if !client.Quiet {
		p.f = f
		if mayDraw(f) {
			p.w, p.hidden = f, func() bool { return inBackground(f) }
		}
	}
	return p
}

// show is called by files while the transfer is under way, by one goroutine.
func (p *filesProgress) show(now files.Progress) {
	if p.f == nil {
		return
	}
	p.measure(now.Bytes)
	switch {
	case p.w != nil:
		p.draw(p.line(now, terminalWidth(p.f)-1))
	case time.Since(p.last) >= p.every:
		p.last = time.Now()
		_, _ = io.WriteString(p.f, p.line(now, plainWidth)+"\n")
	}
}

// measure keeps a rate that follows what happens now.
func (p *filesProgress) measure(bytes int64) {
	since := time.Since(p.at).Seconds()
	if since < 0.05 {
		return
	}
	rate := float64(bytes-p.bytes) / since
	if p.rate == 0 {
		p.rate = rate
	}
	weight := min(1, since/2)
	p.rate += (rate - p.rate) * weight
	p.bytes, p.at = bytes, time.Now()
}

// line says files, bytes, rate, time left and the largest in flight; what matters least is left out where it is narrow.
func (p *filesProgress) line(now files.Progress, width int) string {
	more := ""
	if !now.Listed {
		more = "+" // the list is not complete
	}
	state := progressState{progressOptions: progressOptions{Total: now.TotalBytes}, done: now.Bytes, rate: p.rate}
	parts := []string{
		fmt.Sprintf("%d/%d%s files", now.Files, now.TotalFiles, more),
		fmt.Sprintf(", %s/%s%s", formatBytes(float64(now.Bytes)), formatBytes(float64(now.TotalBytes)), more),
		fmt.Sprintf(", %s/s", formatBytes(p.rate)),
		fmt.Sprintf(", %s left", state.timeLeft()),
	}
	if now.Failed > 0 {
		parts = append(parts, fmt.Sprintf(", %d failed", now.Failed))
	}
	if now.Largest != "" {
		parts = append(parts, fmt.Sprintf(", %s of %s", appendTextField(nil, now.Largest, false), formatBytes(float64(now.LargestSize))))
	}
	return fitParts(parts, width)
}

// close takes the line off the terminal.
func (p *filesProgress) close() { p.draw("") }
