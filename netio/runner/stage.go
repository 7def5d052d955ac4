package runner

import "fmt"

// Stage is a step on the way of a request; a runner goes through those that it has, in this order.
type Stage int

// The stages.
const (
	StageNone    Stage = iota // nothing was tried
	StageResolve              // the target's name becomes addresses
	StageConnect              // a connection is made
	StageHostKey              // the peer proves who it is
	StageAuth                 // the gateway proves who it is
	StageStart                // the command is asked for: a session, a process
	StageRun                  // the command runs
	StageRead                 // the command has ended, its output is read to the end
	StageDone                 // the outcome is complete
)

const stageCount = int(StageDone) + 1

var stageNames = [stageCount]string{"none", "resolve", "connect", "hostkey", "auth", "start", "run", "read", "done"}

// String returns the name that records carry.
func (s Stage) String() string {
	if s < 0 || int(s) >= stageCount {
		return fmt.Sprintf("stage(%d)", int(s))
	}
	return stageNames[s]
}

// parseStage returns the stage of this name.
func parseStage(name string) (Stage, error) {
	for i, n := range stageNames {
		if n == name {
			return Stage(i), nil
		}
	}
	return StageNone, fmt.Errorf("unknown stage %q", name)
}

// Reason is why a request did not run to its end; empty where it did.
type Reason string

// The reasons. A reader takes one that it does not know as ReasonFailed.
const (
	ReasonBadRequest  Reason = "bad_request"     // the request asks for what cannot be
	ReasonNotAllowed  Reason = "not_allowed"     // the gateway does not allow it
	ReasonBusy        Reason = "busy"            // the gateway has no room for it
	ReasonLocal       Reason = "local"           // the gateway's machine lacks the means: descriptors, ports, memory, rights
	ReasonNotFound    Reason = "not_found"       // no such host, program or folder
	ReasonUnreachable Reason = "unreachable"     // no route to the target
	ReasonRefused     Reason = "refused"         // the target refuses the connection
	ReasonKeyUnknown  Reason = "hostkey_unknown" // the target's host key is in no file, and strictness forbids to trust it
	ReasonKeyChanged  Reason = "hostkey_changed" // the target's host key is another than the file has
	ReasonKeyRevoked  Reason = "hostkey_revoked" // the target's host key is marked as revoked
	ReasonAuth        Reason = "auth"            // the target accepts none of what was offered
	ReasonTimeout     Reason = "timeout"         // a time-out passed
	ReasonSilence     Reason = "silence"         // the command wrote nothing for too long
	ReasonCanceled    Reason = "canceled"        // the caller left, or the gateway ends
	ReasonLost        Reason = "lost"            // the connection ended while the command ran: its outcome is unknown
	ReasonFailed      Reason = "failed"          // anything else; the text says what
)

// StageError is how a runner failed: at which target, in which stage and why. Its text is one line.
type StageError struct {
	Target string
	Stage  Stage
	Reason Reason
	Err    error
}

func (e *StageError) Error() string {
	if e.Target == "" {
		return oneLine(fmt.Sprintf("%v: %v", e.Stage, e.Err))
	}
	return oneLine(fmt.Sprintf("%s: %v: %v", e.Target, e.Stage, e.Err))
}

// Unwrap returns the cause, for errors.Is and errors.As.
func (e *StageError) Unwrap() error { return e.Err }
