package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio"
	"shoal/netio/runner"
)

// Gate is a folder and a file of rights as a gateway uses them.
type Gate struct {
	store  *Store
	path   string // of the rights; empty: every identity may do everything
	rights atomic.Pointer[Rights]
	log    *slog.Logger

	mu     sync.Mutex // guards what follows: one Reload at a time
	seen   map[string]stamp
	recent bool // some client may have been judged by what was read before, and let in after the others were judged again
}

// NewGate reads the folder, and the rights where a file is named. Without rights every identity may do everything that the gateway
// offers. It logs each refusal of a right; the gateway itself logs those of clients.
func NewGate(folder, rights string, log *slog.Logger) (*Gate, error) {
	store, err := Open(folder)
	if err != nil {
		return nil, err
	}
	g := &Gate{store: store, path: rights, log: log}
	g.seen = g.stamps()
	if rights != "" {
		r, err := ReadRights(rights)
		if err != nil {
			return nil, err
		}
		g.rights.Store(r)
	}
	return g, nil
}

// Configure sets TLS, Authenticate and Authorize of a gateway's configuration.
func (g *Gate) Configure(c *netio.GatewayConfig) {
	c.TLS, c.Authenticate, c.Authorize = g.store.TLS(), g.store.Authenticate, g.authorize
}

func (g *Gate) authorize(p *netio.Peer, subroutine string, shape netio.Shape) error {
	r := g.rights.Load()
	if r == nil || r.Allow(p.Identity, subroutine, shape) {
		return nil
	}
	g.log.Warn("not allowed", "identity", p.Identity, "remote", p.Addr, "subroutine", subroutine, "shape", shape.String())
	return fmt.Errorf("%s may not use the %v %s here", p.Identity, shape, subroutine)
}

// Guard returns a runner that asks the rights about each request, for the client on whose behalf it runs. Via is ssh or exec.
func (g *Gate) Guard(via string, r runner.Runner) runner.Runner { return guarded{g, via, r} }

type guarded struct {
	gate *Gate
	via  string
	next runner.Runner
}

// Run runs what is allowed.
func (d guarded) Run(ctx context.Context, req *runner.Request, live runner.Live) *runner.Record {
	p := netio.PeerFrom(ctx)
	if r := d.gate.rights.Load(); r != nil && !r.AllowRun(p.Identity, d.via, req) {
		d.gate.log.Warn("not allowed", "identity", p.Identity, "remote", p.Addr, "via", d.via, "target", req.Target, "command", req.CommandText())
		return runner.NewRecord(d.via, req).Fail(runner.ReasonNotAllowed, fmt.Errorf("%s may not run this command on this target", p.Identity))
	}
	return d.next.Run(ctx, req, live)
}

// errRightsLess ends the connections of clients that have lost a right.
var errRightsLess = errors.New("rights have become fewer: what was under way is ended")

// Reload reads everything again, and ends the connections of those who have lost a right. After an error everything stays as it
// was.
func (g *Gate) Reload(gw *netio.Gateway) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = g.stamps()
	g.recent = true
	return g.reload(gw)
}

func (g *Gate) reload(gw *netio.Gateway) error {
	old := g.rights.Load()
	var next *Rights
	if g.path != "" {
		var err error
		if next, err = ReadRights(g.path); err != nil {
			return err
		}
	}
	if err := g.store.Reload(); err != nil {
		return err
	}
	g.rights.Store(next)
	n := gw.Expel(func(p netio.Peer) (reason error, back bool) {
		switch err := g.store.Check(p); {
		case err != nil:
			return err, false
		case next != nil && next.lost(old, p.Identity):
			return errRightsLess, true
		}
		return nil, false
	})
	g.log.Info("trust read again", "folder", g.store.folder, "rights", g.path, "cut_off", n)
	return nil
}

// stamp tells versions of a file apart.
type stamp struct {
	at   time.Time
	size int64
}

// stamps looks at the files. One that cannot be looked at is another version than one that can.
func (g *Gate) stamps() map[string]stamp {
	seen := map[string]stamp{}
	for _, name := range []string{fileCA, gatewayName + ".pem", fileRevoked, filePins, fileTokens, fileUsers} {
		g.look(filepath.Join(g.store.folder, name), seen)
	}
	if g.path != "" {
		g.look(g.path, seen)
	}
	return seen
}

func (g *Gate) look(path string, seen map[string]stamp) {
	if info, err := os.Stat(path); err == nil {
		seen[path] = stamp{info.ModTime(), info.Size()}
	} else if !errors.Is(err, fs.ErrNotExist) {
		seen[path] = stamp{}
	}
}

// watchPeriod is how often Watch looks, and expiry how often it judges those who are in again: certificates end.
const (
	watchPeriod = 250 * time.Millisecond
	expiry      = time.Minute
)

// Watch reloads when a file changes, until ctx ends.
func (g *Gate) Watch(ctx context.Context, gw *netio.Gateway) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	judged := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		recent := g.takeRecent()
		if g.changed() {
			if err := g.Reload(gw); err != nil {
				g.log.Error("trust not read again; the old stays", "error", err)
			}
		}
		if recent || time.Since(judged) > expiry {
			judged = time.Now()
			gw.Expel(func(p netio.Peer) (error, bool) { return g.store.Check(p), false })
		}
	}
}

// changed reports whether a file is another one than when it was read.
func (g *Gate) changed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.stamps()
	if len(now) != len(g.seen) {
		return true
	}
	for path, s := range now {
		if g.seen[path] != s {
			return true
		}
	}
	return false
}

func (g *Gate) takeRecent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	recent := g.recent
	g.recent = false
	return recent
}
