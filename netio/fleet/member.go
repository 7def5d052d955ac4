package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shoal/netio"
)

// Member is what a gateway tells of itself.
type Member struct {
	URL      string            `json:"url"`              // where clients dial it
	ID       string            `json:"id,omitempty"`     // of this life of the gateway: another one after a restart
	Reach    []string          `json:"reach,omitempty"`  // targets that it reaches, as package target writes them; none: everything
	Labels   map[string]string `json:"labels,omitempty"` // such as site=north
	Workers  int               `json:"workers,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Since    time.Time         `json:"since,omitzero"` // when it began
}

const (
	maxMembers = 4096
	maxText    = 256 // bytes of a URL, an id, a label
	maxReach   = 256 // expressions of one member
	maxLabels  = 64
)

// ErrBadMember says that a member cannot be.
var ErrBadMember = errors.New("bad member")

// Check says what is wrong with a member; nothing from the wire is trusted before.
func (m *Member) Check() error {
	switch {
	case !strings.Contains(m.URL, "://") || len(m.URL) > maxText:
		return fmt.Errorf("%w: URL %.300q", ErrBadMember, m.URL)
	case len(m.ID) > maxText:
		return fmt.Errorf("%w: id of %d bytes", ErrBadMember, len(m.ID))
	case len(m.Reach) > maxReach:
		return fmt.Errorf("%w: %s reaches %d expressions, at most %d", ErrBadMember, m.URL, len(m.Reach), maxReach)
	case len(m.Labels) > maxLabels:
		return fmt.Errorf("%w: %s has %d labels, at most %d", ErrBadMember, m.URL, len(m.Labels), maxLabels)
	case m.Workers < 0:
		return fmt.Errorf("%w: %s has %d workers", ErrBadMember, m.URL, m.Workers)
	}
	for key, value := range m.Labels {
		if key == "" || len(key)+len(value) > maxText {
			return fmt.Errorf("%w: label %.300q of %s", ErrBadMember, key, m.URL)
		}
	}
	_, err := parseReach(m.Reach)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBadMember, m.URL, err)
	}
	return nil
}

// equal reports whether two members say the same.
func (m *Member) equal(n *Member) bool {
	return m.URL == n.URL && m.ID == n.ID && m.Workers == n.Workers && m.Draining == n.Draining && m.Since.Equal(n.Since) &&
		slices.Equal(m.Reach, n.Reach) && maps.Equal(m.Labels, n.Labels)
}

// ParseLabel reads key=value.
func ParseLabel(text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" || len(text) > maxText {
		return "", "", fmt.Errorf("%w: label %.300q: write key=value", ErrBadMember, text)
	}
	return key, value, nil
}

// ErrNoRoute says that no gateway reaches a target. It matches netio.ErrUnreachable too: the task was not sent.
var ErrNoRoute = fmt.Errorf("no gateway reaches the target: %w", netio.ErrUnreachable)
