package cluster

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"shoal/netio/fleet"
)

// Config is what a node can be told.
type Config struct {
	Listen string       // host:port for gossip, TCP and UDP; port 0 is any free one
	Join   []string     // host:port of some that are there; none: it is the first
	Key    []byte       // 16, 24 or 32 bytes that all nodes have; none: gossip is not encrypted
	Self   fleet.Member // what this gateway tells; its ID is the node's name, unlike any other's
	Logger *slog.Logger // default: none

	// ProbeEvery is how often a node looks whether another one is there. It takes some ten times as long to find one dead.
	// Default 1 s.
	ProbeEvery time.Duration
	// RejoinEvery is how often lost nodes, and those of Join that were never reached, are tried again; default 10 s.
	RejoinEvery time.Duration
}

// Errors of Start.
var (
	ErrConfig = errors.New("bad configuration of a cluster")
	ErrJoin   = errors.New("no member of the cluster is reached")
)

// Node is one gateway's place in a cluster. All its methods are safe for concurrent use.
type Node struct {
	config  Config
	log     *slog.Logger
	list    *memberlist.Memberlist
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	self    fleet.Member
	members map[string]fleet.Member // by the names of their nodes
	places  map[string]string       // gossip addresses of those that are, and were lately, there, with their names
	changed chan struct{}
}

// Start binds the gossip port and joins the others. Where none of Config.Join is reached the error matches ErrJoin and names
// them; a gateway that is the first names nobody.
func Start(ctx context.Context, c Config) (*Node, error) {
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return nil, err
	}
	if err := c.Self.Check(); err != nil {
		return nil, err
	}
	if c.Self.ID == "" {
		return nil, fmt.Errorf("%w: the member has no ID", ErrConfig)
	}
	if _, err := meta(&c.Self); err != nil {
		return nil, err
	}
	n := &Node{config: c, log: c.Logger, self: c.Self, members: map[string]fleet.Member{}, places: map[string]string{},
		changed: make(chan struct{})}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if c.ProbeEvery < 0 || c.RejoinEvery < 0 {
		return nil, fmt.Errorf("%w: ProbeEvery is %v, RejoinEvery %v; zero is the default", ErrConfig, c.ProbeEvery, c.RejoinEvery)
	}
	n.config.RejoinEvery = cmp.Or(c.RejoinEvery, 10*time.Second)
	n.config.ProbeEvery = cmp.Or(c.ProbeEvery, time.Second)
	m := memberlist.DefaultLANConfig()
	m.Name, m.BindAddr, m.BindPort, m.AdvertisePort = c.Self.ID, host, port, port
	m.ProbeInterval, m.ProbeTimeout = n.config.ProbeEvery, n.config.ProbeEvery/2
	m.SecretKey = c.Key
	m.Delegate, m.Events = delegate{n}, delegate{n}
	m.Logger = log.New(logWriter{n.log}, "", 0)
	n.list, err = memberlist.Create(m)
	if err != nil {
		return nil, fmt.Errorf("cluster at %s: %w", c.Listen, err)
	}
	if err := n.join(ctx, c.Join); err != nil {
		_ = n.list.Shutdown()
		return nil, err
	}
	ctx, n.cancel = context.WithCancel(context.Background())
	n.running.Go(func() { n.rejoin(ctx) })
	return n, nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(number)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%w: address %q: write host:port", ErrConfig, address)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// join joins the first of the addresses that answers, within 10 s or until ctx ends.
func (n *Node) join(ctx context.Context, addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		reached, err := n.list.Join(addresses)
		if reached > 0 {
			return nil
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: tried %s: %s", ErrJoin, strings.Join(addresses, ", "), oneLine(err))
		}
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Address returns the address that the node gossips on, with the port it was given.
func (n *Node) Address() string { return n.list.LocalNode().FullAddress().Addr }

// List returns the members that are there, as far as is known, by URL.
func (n *Node) List() fleet.List {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := fleet.List{Self: n.self.URL}
	for _, m := range n.members {
		l.Members = append(l.Members, m)
	}
	slices.SortFunc(l.Members, func(a, b fleet.Member) int { return strings.Compare(a.URL, b.URL) })
	return l
}

// Changed returns a channel that is closed at the next change of List.
func (n *Node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Update changes what this gateway tells of itself, but for its ID. It returns when the others have been told, or within 2 s.
func (n *Node) Update(change func(m *fleet.Member)) error {
	n.mu.Lock()
	m := n.self
	change(&m)
	m.ID = n.self.ID
	_, err := meta(&m)
	if err == nil {
		n.self = m
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	return n.list.UpdateNode(2 * time.Second)
}

// Leave tells the others that this gateway goes, and ends the node.
func (n *Node) Leave() error {
	n.cancel()
	n.running.Wait()
	err := n.list.Leave(2 * time.Second)
	return errors.Join(err, n.list.Shutdown())
}

// Kill ends the node without telling anybody.
func (n *Node) Kill() error {
	n.cancel()
	n.running.Wait()
	return n.list.Shutdown()
}

// meta returns what travels with the gossip of a node.
func meta(m *fleet.Member) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(text) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%w: what the gateway tells of itself has %d bytes, at most %d travel: name fewer and wider ranges, or fewer labels",
			ErrConfig, len(text), memberlist.MetaMaxSize)
	}
	return text, nil
}

// note notes a member, or that one is gone.
func (n *Node) note(node *memberlist.Node, gone bool) {
	var m fleet.Member
	err := json.Unmarshal(node.Meta, &m)
	if err == nil {
		err = m.Check()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case gone:
		delete(n.members, node.Name)
	case err != nil:
		n.log.Warn("a member tells what cannot be", "address", node.Address(), "error", err)
		delete(n.members, node.Name)
	default:
		n.members[node.Name] = m
	}
	if len(n.places) < maxPlaces {
		n.places[node.Address()] = node.Name
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// delegate is what memberlist calls. It holds locks of its own meanwhile.
type delegate struct{ n *Node }

func (d delegate) NodeMeta(int) []byte {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	text, _ := meta(&d.n.self) // checked before
	return text
}

func (d delegate) NotifyJoin(node *memberlist.Node)   { d.n.note(node, false) }
func (d delegate) NotifyUpdate(node *memberlist.Node) { d.n.note(node, false) }
func (d delegate) NotifyLeave(node *memberlist.Node)  { d.n.note(node, true) }

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// ParseKey reads a key of 16, 24 or 32 bytes, in base64 or hexadecimal.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && slices.Contains([]int{16, 24, 32}, len(key)) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: a key has 16, 24 or 32 bytes, in hexadecimal or base64 (openssl rand -hex 32 makes one)", ErrConfig)
}
