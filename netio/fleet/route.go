package fleet

import (
	"net/netip"
	"strings"

	"shoal/netio/target"
)

// reach is what a member reaches, parsed.
type reach struct {
	prefixes []netip.Prefix
	sets     []target.Set
}

// parseReach reads the expressions of a member's reach.
func parseReach(expressions []string) (r reach, err error) {
	for _, text := range expressions {
		if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			r.prefixes = append(r.prefixes, p.Masked())
			continue
		}
		set, err := target.Parse(text)
		if err != nil {
			return r, err
		}
		r.sets = append(r.sets, set)
	}
	return r, nil
}

// How well a member reaches a target. A member that names a prefix of n bits reaches its addresses with reachPrefix+n: of two,
// the longer wins.
const (
	reachNot    = 0
	reachAll    = 1 // the member names nothing, so it reaches everything
	reachSet    = 2 // by a node set
	reachPrefix = 3
)

// to returns how well a target is reached; no target at all is reached by everybody alike.
func (r *reach) to(host string) int {
	if host == "" || len(r.prefixes) == 0 && len(r.sets) == 0 {
		return reachAll
	}
	best := reachNot
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		addr = addr.Unmap().WithZone("")
		for _, p := range r.prefixes {
			if p.Contains(addr) {
				best = max(best, reachPrefix+p.Bits())
			}
		}
	}
	if best > reachNot {
		return best
	}
	for _, s := range r.sets {
		if s.Contains(host) {
			return reachSet
		}
	}
	return reachNot
}

// matches reports whether a member has all of the labels.
func matches(m *Member, labels map[string]string) bool {
	for key, value := range labels {
		if m.Labels[key] != value {
			return false
		}
	}
	return true
}

// candidates returns the gateways that reach a host best, in the order of the client's preference, at most subset of them. The
// caller holds mu.
func (f *Fleet) candidates(host string) []*gateway {
	best := reachAll
	var found []*gateway
	for _, g := range f.ranked {
		how := g.reach.to(host)
		switch {
		case how < best || how == reachNot || !matches(&g.member, f.config.Labels):
			continue
		case how > best:
			best, found = how, found[:0]
		}
		found = append(found, g)
	}
	return found
}
