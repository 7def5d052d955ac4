package probe

import "fmt"

// Answer is what a probe found out. Every probe of a scan that ends well has exactly one.
type Answer uint8

// The answers. A local error is never one of the first four: what this machine could not try is NotTried.
const (
	// Open says that the port accepted a connection, or that the address answered an echo request.
	Open Answer = iota + 1
	// Closed says that the address refused the connection.
	Closed
	// Filtered says that nothing came back before the time-out.
	Filtered
	// Unreachable says that a router, or this machine's routing table, reported that there is no way to the address,
	// or that its name does not exist.
	Unreachable
	// NotTried says that the probe did not leave this machine: descriptors, ports, memory or rights were missing until
	// the patience for local errors was over, or the gateway does not allow the address.
	NotTried
)

// answers is how many there are; the answers are 1 to answers.
const answers = 5

var answerNames = [answers + 1]string{"", "open", "closed", "filtered", "unreachable", "not_tried"}

// String returns the name that output and the wire use: open, closed, filtered, unreachable or not_tried.
func (a Answer) String() string {
	if a.valid() {
		return answerNames[a]
	}
	return fmt.Sprintf("answer %d", uint8(a))
}

func (a Answer) valid() bool { return a >= Open && a <= NotTried }

// MarshalText returns the name.
func (a Answer) MarshalText() ([]byte, error) {
	if !a.valid() {
		return nil, fmt.Errorf("probe: %v has no name", a)
	}
	return []byte(answerNames[a]), nil
}

// UnmarshalText reads a name.
func (a *Answer) UnmarshalText(text []byte) error {
	for i, name := range answerNames {
		if i > 0 && name == string(text) {
			*a = Answer(i)
			return nil
		}
	}
	return fmt.Errorf("probe: %q is no answer", text)
}

// Counts is how many probes had each answer.
type Counts struct {
	Open        uint64 `json:"open"`
	Closed      uint64 `json:"closed"`
	Filtered    uint64 `json:"filtered"`
	Unreachable uint64 `json:"unreachable"`
	NotTried    uint64 `json:"not_tried"`
}

// Add counts an answer.
func (c *Counts) Add(a Answer) {
	switch a {
	case Open:
		c.Open++
	case Closed:
		c.Closed++
	case Filtered:
		c.Filtered++
	case Unreachable:
		c.Unreachable++
	case NotTried:
		c.NotTried++
	}
}

// Total is how many answers there are.
func (c Counts) Total() uint64 {
	return c.Open + c.Closed + c.Filtered + c.Unreachable + c.NotTried
}

// String is a line such as `3 open, 120 closed, 5 filtered, 0 unreachable, 0 not_tried`.
func (c Counts) String() string {
	return fmt.Sprintf("%d open, %d closed, %d filtered, %d unreachable, %d not_tried",
		c.Open, c.Closed, c.Filtered, c.Unreachable, c.NotTried)
}
