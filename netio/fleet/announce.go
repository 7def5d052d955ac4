package fleet

import (
	"context"
	"encoding/json"
	"fmt"

	"shoal/netio"
)

// NameMembers is the subroutine by which a gateway tells who the members of its fleet are: a stream of Lists in JSON, one at once
// and one after each change.
const NameMembers = "fleet.members"

// List is what a gateway tells of its fleet.
type List struct {
	Self    string   `json:"self"` // the gateway's own URL among these
	Members []Member `json:"members"`
}

// Membership is what a gateway knows of its fleet.
type Membership interface {
	// List returns those that are known, the gateway itself among them. The slice is the caller's.
	List() List
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Alone is the membership of a gateway that is in no cluster.
type Alone Member

// List returns the gateway itself.
func (a Alone) List() List { return List{a.URL, []Member{Member(a)}} }

// Changed returns a channel that is never closed.
func (a Alone) Changed() <-chan struct{} { return nil }

// Announce makes a gateway tell its clients of the members, until it drains.
func Announce(g *netio.Gateway, m Membership) {
	g.HandleStream(NameMembers, func(ctx context.Context, _ []byte, out *netio.Stream) error {
		for ident, draining := int64(0), g.Draining(); ; ident++ {
			changed := m.Changed()
			list, err := json.Marshal(m.List())
			if err != nil {
				return fmt.Errorf("members: %w", err)
			}
			if err := out.Send(ident, list); err != nil {
				return err
			}
			select {
			case <-changed:
			case <-draining:
				return nil
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Describe(NameMembers, "the gateways of this fleet, and each change")
}
