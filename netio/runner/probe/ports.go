package probe

import (
	"fmt"
	"strconv"
	"strings"
)

// Protocol is how a port is probed.
type Protocol string

// The protocols. ICMP has no ports: it is an echo request, and stands among the ports of a scan as "icmp".
const (
	TCP  Protocol = "tcp"
	ICMP Protocol = "icmp"
)

// door is what a scan tries at each target: a TCP port, or icmp where it is 0.
type door uint16

const icmpDoor door = 0

func (d door) protocol() Protocol {
	if d == icmpDoor {
		return ICMP
	}
	return TCP
}

func portText(d door) string { return strconv.Itoa(int(d)) }

// parsePorts reads a list such as 22,80,8000-8010,icmp. A port that is named twice counts once, at its first place.
func parsePorts(list string) ([]door, error) {
	var doors []door
	var seen [1 << 16]bool
	add := func(d door) {
		if !seen[d] {
			seen[d] = true
			doors = append(doors, d)
		}
	}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if strings.EqualFold(item, string(ICMP)) {
			add(icmpDoor)
			continue
		}
		from, to, isRange := strings.Cut(item, "-")
		first, err := parsePort(from)
		if err != nil {
			return nil, fmt.Errorf("ports %q: %w", list, err)
		}
		last := first
		if isRange {
			if last, err = parsePort(to); err != nil {
				return nil, fmt.Errorf("ports %q: %w", list, err)
			}
		}
		if last < first {
			return nil, fmt.Errorf("ports %q: %s ends before it begins", list, item)
		}
		for p := int(first); p <= int(last); p++ {
			add(door(p))
		}
	}
	return doors, nil
}

func parsePort(text string) (door, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port: give numbers from 1 to 65535, ranges such as 8000-8010, or icmp", text)
	}
	return door(n), nil
}
