package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"shoal/netio"
	"shoal/netio/lines"
)

// Exit statuses.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitFailed      = 3 // some tasks failed
	exitUnknown     = 4 // some tasks timed out or were lost
	exitUnreachable = 5 // no gateway
	exitInterrupted = 130
)

// exitError ends the process with a status; its text, if there is one, goes to standard error.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage makes an error of what the user can mend.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unreachable makes an error of a dial that failed, with what to do about it.
func unreachable(err error) error {
	var hint string
	switch {
	case errors.Is(err, netio.ErrBadURL):
		return usage("--gateway: %w", err)
	case errors.Is(err, netio.ErrFull):
		hint = "try again later, or start it with a larger --max-handlers"
	case errors.Is(err, netio.ErrDraining):
		hint = "start it again, or name another with --gateway"
	case errors.Is(err, netio.ErrVersion):
		hint = "use the shoal that the gateway has"
	case errors.Is(err, netio.ErrUntrusted):
		hint = "copy the gateway's ca.pem to the folder of trust, or give --accept-new once"
	case errors.Is(err, netio.ErrNotAllowed):
		hint = "ask who runs the gateway"
	case errors.Is(err, fs.ErrPermission):
		hint = "check the owner and mode of the socket"
	case notThere(err):
		hint = "start one with 'shoal server', name another with --gateway, or wait for it with --wait 30s"
	default:
		hint = "check --gateway or SHOAL_GATEWAY: it has to be the address of a shoal gateway"
	}
	return &exitError{exitUnreachable, fmt.Errorf("%w; %s", err, hint)}
}

// notThere reports whether nobody was connected at all.
func notThere(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// exitStatus prints the error, if it says something, and returns the status it stands for.
func exitStatus(err error, stderr io.Writer) int {
	if err == nil || hadEnough(err) {
		return exitOK
	}
	if text := errorLines(err); text != "" {
		fmt.Fprintln(stderr, "shoal:", text)
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.status
	}
	_, task := errors.AsType[*netio.TaskError](err)
	_, stream := errors.AsType[*netio.StreamError](err)
	switch {
	case errors.Is(err, netio.ErrUnreachable):
		return exitUnreachable
	case task || stream:
		return statusExit(netio.StatusOf(err))
	case errors.Is(err, netio.ErrFull), errors.Is(err, netio.ErrDraining), errors.Is(err, netio.ErrVersion), errors.Is(err, netio.ErrUntrusted), errors.Is(err, netio.ErrNotAllowed):
		return exitUnreachable
	case errors.Is(err, lines.ErrBadFile):
		return exitUsage
	}
	return exitInternal
}

// errorLines is the text of an error, of which a peer may have written some: only where lines of a file are refused it has
// several lines.
func errorLines(err error) string {
	text := err.Error()
	if !errors.Is(err, lines.ErrBadFile) {
		return visible(text)
	}
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = visible(all[i])
	}
	return strings.Join(all, "\n")
}

// statusExit returns the exit status for a task's status.
func statusExit(s netio.Status) int { return exitOf(s.String()) }
