package probe

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"shoal/netio/target"
)

// Scan describes a scan: each port is tried at each target. Its JSON form is what the subroutine takes.
type Scan struct {
	Version int `json:"v"` // 1; 0 is taken for it

	// Targets is an expression of package target, without groups and files: Set.String gives one.
	Targets string `json:"targets"`
	// Ports is a list such as 22,80,8000-8010,icmp.
	Ports string `json:"ports"`

	// Seed chooses the order in which the probes are made. A position is a place in that order, from 0; the same targets,
	// ports and seed give the same probe at each position, everywhere.
	Seed uint64 `json:"seed"`
	// From is the lowest position that is probed.
	From uint64 `json:"from,omitempty"`
	// Answered has a bit for each position from From on that is not probed, since it has its answer; the lowest bit of the
	// first byte is From's. It has 8 KiB at most.
	Answered []byte `json:"answered,omitempty"`

	// TimeoutMS is how long a probe waits for an answer, in milliseconds; default 2000. With 2000 or more, the system sends
	// an unanswered SYN a second time.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	// PatienceMS is how long a probe is tried again for which this machine lacks the means; default 30000.
	PatienceMS int64 `json:"patience_ms,omitempty"`
	// Rate is the most probes started in a second; default DefaultRate, and a gateway may have a lower limit.
	Rate int `json:"rate,omitempty"`
	// FixedRate starts Rate probes a second from the first to the last, and adapts to nothing but a want of descriptors.
	FixedRate bool `json:"fixed_rate,omitempty"`
	// Fanout is the most probes in flight; default 1000. The gateway's descriptor limit may allow fewer.
	Fanout int `json:"fanout,omitempty"`
	// PerTarget is the most probes in flight to one target; default 100.
	PerTarget int `json:"per_target,omitempty"`
	// Retries is how often a probe is tried again that nothing answered.
	Retries int `json:"retries,omitempty"`

	Banner bool `json:"banner,omitempty"` // read what an open port says first
	TLS    bool `json:"tls,omitempty"`    // try a TLS handshake at open ports, and read the certificate
	HTTP   bool `json:"http,omitempty"`   // ask open ports for / by HTTP; with TLS over TLS where that succeeds
	// ServiceTimeoutMS is how long all of this may take at one port; default 5000.
	ServiceTimeoutMS int64 `json:"service_timeout_ms,omitempty"`
}

// DefaultRate is the upper rate of a scan that names none, in probes a second.
const DefaultRate = 10_000

// Bounds of what a scan may ask for.
const (
	scanVersion  = 1
	maxRate      = 10_000_000
	maxFanout    = 1 << 20
	maxRetries   = 100
	maxTimeout   = 10 * time.Minute
	maxPositions = 1 << 62
)

// ErrBadScan says that the description of a scan makes no sense; the text says where.
var ErrBadScan = errors.New("bad scan")

func badScan(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBadScan, fmt.Errorf(format, args...))
}

// plan finds the probe at each position of a scan. It is immutable.
type plan struct {
	targets target.Set
	doors   []door
	total   uint64
	order   permutation
}

// newPlan reads the description as far as it says what is probed in which order.
func newPlan(s *Scan) (*plan, error) {
	if s.Version != 0 && s.Version != scanVersion {
		return nil, badScan("version %d; this is of version %d", s.Version, scanVersion)
	}
	set, err := target.Parse(s.Targets)
	if err != nil {
		return nil, badScan("targets: %w", err)
	}
	doors, err := parsePorts(s.Ports)
	if err != nil {
		return nil, badScan("%w", err)
	}
	n := set.Len()
	switch {
	case n == 0:
		return nil, badScan("no targets")
	case n > maxPositions/uint64(len(doors)):
		return nil, badScan("%s targets and %d ports: there are more than 2^62 probes", countText(n), len(doors))
	}
	p := &plan{targets: set, doors: doors, total: n * uint64(len(doors))}
	p.order = newPermutation(p.total, s.Seed)
	if s.From > p.total {
		return nil, badScan("position %d of %d", s.From, p.total)
	}
	return p, nil
}

// countText writes a count that package target may have cut off.
func countText(n uint64) string {
	if n == math.MaxUint64 {
		return "2^64 or more"
	}
	return fmt.Sprint(n)
}

// at returns the index of the target and the port that are probed at a position.
func (p *plan) at(position uint64) (target uint64, d door) {
	v := p.order.at(position)
	return v / uint64(len(p.doors)), p.doors[v%uint64(len(p.doors))]
}

// text returns a target as the set writes it.
func (p *plan) text(target uint64) string { return p.targets.At(target) }

// options checks the numbers and puts the defaults in.
func (s *Scan) options() (engineOptions, error) {
	timeout, err := milliseconds("timeout_ms", s.TimeoutMS, 2*time.Second)
	if err != nil {
		return engineOptions{}, err
	}
	patience, err := milliseconds("patience_ms", s.PatienceMS, 30*time.Second)
	if err != nil {
		return engineOptions{}, err
	}
	service, err := milliseconds("service_timeout_ms", s.ServiceTimeoutMS, 5*time.Second)
	if err != nil {
		return engineOptions{}, err
	}
	rate, err := number("rate", s.Rate, DefaultRate, maxRate)
	if err != nil {
		return engineOptions{}, err
	}
	fanout, err := number("fanout", s.Fanout, 1000, maxFanout)
	if err != nil {
		return engineOptions{}, err
	}
	perTarget, err := number("per_target", s.PerTarget, 100, maxFanout)
	if err != nil {
		return engineOptions{}, err
	}
	if s.Retries < 0 || s.Retries > maxRetries {
		return engineOptions{}, badScan("retries %d: it has to be from 0 to %d", s.Retries, maxRetries)
	}
	return engineOptions{timeout: timeout, patience: patience, rate: float64(rate), fixedRate: s.FixedRate,
		fanout: min(fanout, socketsAllowed()), perTarget: perTarget, retries: s.Retries, lookup: systemLookup,
		service: serviceOptions{banner: s.Banner, tls: s.TLS, http: s.HTTP, timeout: service}}, nil
}

func milliseconds(what string, ms int64, def time.Duration) (time.Duration, error) {
	switch {
	case ms == 0:
		return def, nil
	case ms < 0 || ms > maxTimeout.Milliseconds():
		return 0, badScan("%s %d: it has to be from 1 to %d", what, ms, maxTimeout.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func number(what string, n, def, most int) (int, error) {
	switch {
	case n == 0:
		return def, nil
	case n < 0 || n > most:
		return 0, badScan("%s %d: it has to be from 1 to %d", what, n, most)
	}
	return n, nil
}

// socketsAllowed returns how many sockets a scan has at most: three quarters of the descriptors that the process may have.
// The others are for connections of the gateway, and for the other scans, which find out by the errors.
func socketsAllowed() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > maxFanout {
		return maxFanout
	}
	return max(8, int(r.Cur)*3/4)
}
