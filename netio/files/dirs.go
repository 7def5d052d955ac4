package files

import (
	"os"
	"strings"
	"syscall"
)

// openFolders is how many folders a dirCache keeps open.
const openFolders = 3

// dirCache keeps the folder open that was used last, and those above it: files come folder by folder, so the next one
// is mostly beside or below, and an operation on one name in an open folder is one call of the system, however deep it
// is. All are opened through the root, or through one that was: no name leads out of it.
type dirCache struct {
	root *os.Root
	open []openFolder // each below the one before

	self     *os.File // the folder whose descriptor was wanted last; nil: none
	selfName string
}

type openFolder struct {
	name string // below the root
	dir  *os.Root
}

// descriptor returns that of folder p, which stays open until the next call.
func (c *dirCache) descriptor(p string) (int, error) {
	if c.self == nil || c.selfName != p {
		f, err := c.openFolder(p)
		if err != nil {
			return -1, err
		}
		c.closeSelf()
		c.self, c.selfName = f, p
	}
	return int(c.self.Fd()), nil
}

// openFolder opens folder p, for the caller to close.
func (c *dirCache) openFolder(p string) (*os.File, error) {
	dir, base := split(p)
	d, err := c.at(dir)
	if err != nil {
		return nil, err
	}
	return d.OpenFile(base, os.O_RDONLY|syscall.O_DIRECTORY, 0) // not a fifo, which would hold us up
}

func (c *dirCache) closeSelf() {
	if c.self != nil {
		_ = c.self.Close()
		c.self = nil
	}
}

// at returns folder p, which stays open until the next call.
func (c *dirCache) at(p string) (*os.Root, error) {
	if p == "." {
		return c.root, nil
	}
	c.keepAbove(p)
	from, rest := c.root, p
	if n := len(c.open); n > 0 {
		above := c.open[n-1]
		if above.name == p {
			return above.dir, nil
		}
		from, rest = above.dir, p[len(above.name)+1:]
	}
	for {
		name := rest
		first, after, more := strings.Cut(rest, "/")
		if more && len(c.open) < openFolders-1 {
			name = first
		}
		d, err := from.OpenRoot(name + "/") // the slash: not a fifo, which would hold us up
		if err != nil {
			return nil, err
		}
		c.open = append(c.open, openFolder{name: p[:len(p)-len(rest)+len(name)], dir: d})
		if len(name) == len(rest) {
			return d, nil
		}
		from, rest = d, after
	}
}

// keepAbove closes the folders that p is neither nor below of. A full cache makes room.
func (c *dirCache) keepAbove(p string) {
	n := 0
	for n < len(c.open) {
		name := c.open[n].name
		if !strings.HasPrefix(p, name) || len(p) > len(name) && p[len(name)] != '/' {
			break
		}
		n++
	}
	if n == openFolders && c.open[n-1].name != p {
		n--
	}
	c.closeFrom(n)
}

func (c *dirCache) closeFrom(n int) {
	for i := n; i < len(c.open); i++ {
		_ = c.open[i].dir.Close()
		c.open[i] = openFolder{}
	}
	c.open = c.open[:n]
}

func (c *dirCache) close() {
	c.closeFrom(0)
	c.closeSelf()
}
