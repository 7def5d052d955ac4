package demo

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"shoal/netio"
)

// Usage is what mount_usage answers.
type Usage struct {
	Used     int64   `json:"used"`     // bytes
	Capacity int64   `json:"capacity"` // bytes
	Percent  float64 `json:"percent"`
}

// mountCapacity is how much the demo's folder is said to hold. Its logs fill nine tenths of it.
const mountCapacity = 1 << 20

// mount is a folder of logs.
type mount struct{ root *os.Root }

// Backup registers the gateway's side of the conditional backup, on a new temporary folder with some logs in it. Stop
// removes the folder.
func Backup(gw *netio.Gateway) (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "shoal-demo-*")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	m := &mount{root}
	stop = func() error { return errors.Join(root.Close(), remove()) }
	if err := m.fill(); err != nil {
		return nil, errors.Join(err, stop())
	}
	gw.HandleCall("mount_usage", netio.JSON(m.usage))
	gw.Describe("mount_usage", "how full the demo's folder is, as JSON")
	gw.HandleStream("logs", m.logs)
	gw.Describe("logs", "the files of the demo's folder that match a pattern such as app-*.log, as a tar archive")
	gw.HandleCall("remove_logs", netio.JSON(m.removeLogs))
	gw.Describe("remove_logs", "remove the files of these names, a JSON list; answers how many")
	return stop, nil
}

// fill writes eight old logs and one that is still in use.
func (m *mount) fill() error {
	line := "time=2026-01-01T00:00:00Z level=INFO msg=\"all is well\"\n"
	text := strings.Repeat(line, mountCapacity/10/len(line))
	for i := range 8 {
		if err := m.root.WriteFile(fmt.Sprintf("app-%d.log", i+1), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return m.root.WriteFile("current.log", []byte(text), 0o600)
}

func (m *mount) usage(context.Context, any) (Usage, error) {
	u := Usage{Capacity: mountCapacity}
	infos, err := m.matching("*")
	for _, info := range infos {
		u.Used += info.Size()
	}
	u.Percent = 100 * float64(u.Used) / float64(u.Capacity)
	return u, err
}

// matching lists the regular files whose name matches. A pattern is a name, so it leads out of no folder.
func (m *mount) matching(pattern string) ([]fs.FileInfo, error) {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		return nil, fmt.Errorf("%w: %q is no pattern of a file name, such as app-*.log", netio.ErrBadArgument, pattern)
	}
	entries, err := fs.ReadDir(m.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, entry := range entries {
		if ok, _ := path.Match(pattern, entry.Name()); !ok || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another client removed it
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (m *mount) logs(_ context.Context, in []byte, out *netio.Stream) error {
	infos, err := m.matching(string(in))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out.Writer())
	for _, info := range infos {
		if err := m.addTo(archive, info); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (m *mount) addTo(archive *tar.Writer, info fs.FileInfo) error {
	f, err := m.root.Open(info.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.CopyN(archive, f, info.Size())
	return err
}

func (m *mount) removeLogs(_ context.Context, names []string) (int, error) {
	for _, name := range names {
		if name != path.Base(name) {
			return 0, fmt.Errorf("%w: %q is no name of a log", netio.ErrBadArgument, name)
		}
	}
	removed := 0
	for _, name := range names {
		if err := m.root.Remove(name); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
