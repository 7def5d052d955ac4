package execrun

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is the keeper that gives each program a group of its own, cgroup v2. Groups are used again once they are empty,
// unless they were killed: the kernel takes what is cloned into such a group later for a fork that the kill has to meet.
type cgroups struct {
	base string   // the folder of our groups
	lock *os.File // base itself, locked for as long as we live: others see by it that we do

	mu   sync.Mutex // guards what follows
	free []*cgroup
	made int
	gone bool
}

// cgroup is one group, with what is needed to use it.
type cgroup struct {
	dir    string
	killed bool
	folder *os.File // for clone
	kill   *os.File // cgroup.kill
	events *os.File // cgroup.events, which tells whether somebody is in it
}

type cgroupTask struct {
	*leader
	keeper *cgroups
	group  *cgroup
}

// basePrefix is how the folders of all gateways on the machine begin.
const basePrefix = "shoal-exec-"

// newCgroups makes the folder of our groups, inside the group that this process is in.
func newCgroups() (*cgroups, error) {
	own, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	// Who clones into a group needs to be allowed to move processes out of the one that it is in.
	if err := unix.Access(filepath.Join(own, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	all, err := os.Open(own)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	// One gateway at a time, so that none takes the folder of another, which is not locked yet, for one left behind.
	if err := unix.Flock(int(all.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	emptyLeftBehind(own)
	base, err := os.MkdirTemp(own, basePrefix)
	if err != nil {
		return nil, err
	}
	k := &cgroups{base: base}
	if k.lock, err = os.Open(base); err == nil {
		err = unix.Flock(int(k.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(base, "cgroup.kill")) // Linux 5.14
	}
	if err == nil {
		err = k.try()
	}
	if err != nil {
		_ = k.close()
		return nil, err
	}
	return k, nil
}

// try runs something in a group: permissions, the types of groups and kernels differ in more ways than can be asked for.
func (k *cgroups) try() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	t, err := k.start(&launch{path: shell, argv: []string{shell, "-c", "exit 7"}, files: [3]*os.File{null, null, null}})
	if err != nil {
		return err
	}
	<-t.exited()
	err = t.kill()
	if end, failed := t.wait(); err == nil && failed == nil && end.exit != 7 {
		err = fmt.Errorf("a trial in a cgroup ended with %+v", end)
	}
	return err
}

// ownCgroup returns the folder of the group that this process is in.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	group := ""
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			group = path
		}
	}
	for line := range strings.Lines(string(mounts)) {
		// 36 35 98:0 /root /mount options - type source …
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !strings.HasPrefix(after, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		if inside, ok := strings.CutPrefix(group, strings.TrimSuffix(fields[3], "/")); ok {
			return filepath.Join(fields[4], inside), nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// emptyLeftBehind kills what gateways that were killed themselves have left in their groups, and removes these.
func emptyLeftBehind(own string) {
	for _, base := range innerGroups(own) {
		if !strings.HasPrefix(filepath.Base(base), basePrefix) {
			continue
		}
		f, err := os.Open(base)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // its gateway is gone
			removeGroups(base)
		}
		_ = f.Close()
	}
}

// innerGroups returns the folders of the groups in a group.
func innerGroups(group string) (inner []string) {
	entries, _ := os.ReadDir(group)
	for _, e := range entries {
		if e.IsDir() {
			inner = append(inner, filepath.Join(group, e.Name()))
		}
	}
	return inner
}

// removeGroups kills what is in a group and removes it with the groups in it.
func removeGroups(base string) {
	_ = os.WriteFile(filepath.Join(base, "cgroup.kill"), []byte("1"), 0)
	for pause := time.Millisecond; pause < time.Second; pause *= 2 {
		if events, err := os.ReadFile(filepath.Join(base, "cgroup.events")); err != nil || !populated(events) {
			break
		}
		time.Sleep(pause)
	}
	for _, g := range innerGroups(base) {
		removeGroups(g)
	}
	_ = unix.Rmdir(base)
}

func populated(events []byte) bool { return bytes.Contains(events, []byte("populated 1")) }

func (k *cgroups) kind() string { return "cgroup" }

func (k *cgroups) start(l *launch) (task, error) {
	g, err := k.take()
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	led, err := startLeader(l.path, l.argv, l, nil, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.folder.Fd())})
	if err != nil {
		k.give(g)
		return nil, err
	}
	return &cgroupTask{leader: led, keeper: k, group: g}, nil
}

// close removes our groups.
func (k *cgroups) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	for _, g := range k.free {
		g.close()
	}
	k.free = nil
	removeGroups(k.base)
	if k.lock != nil {
		_ = k.lock.Close()
	}
	if _, err := os.Stat(k.base); err == nil {
		return fmt.Errorf("%s: %w", k.base, errUnkillable)
	}
	return nil
}

// take returns an empty group.
func (k *cgroups) take() (*cgroup, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.free); n > 0 {
		g := k.free[n-1]
		k.free = k.free[:n-1]
		return g, nil
	}
	k.made++
	g := &cgroup{dir: filepath.Join(k.base, strconv.Itoa(k.made))}
	err := os.Mkdir(g.dir, 0o755)
	if err == nil {
		g.folder, err = os.Open(g.dir)
	}
	if err == nil {
		g.kill, err = os.OpenFile(filepath.Join(g.dir, "cgroup.kill"), os.O_WRONLY, 0)
	}
	if err == nil {
		g.events, err = os.Open(filepath.Join(g.dir, "cgroup.events"))
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// give takes an empty group back.
func (k *cgroups) give(g *cgroup) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		g.close()
		return
	}
	k.free = append(k.free, g)
}

// close removes a group; one that somebody is in stays.
func (g *cgroup) close() {
	for _, f := range []*os.File{g.folder, g.kill, g.events} {
		if f != nil {
			_ = f.Close()
		}
	}
	_ = unix.Rmdir(g.dir)
}

// empty reports whether nobody is in the group. A process that has ended and is not reaped is not in it.
func (g *cgroup) empty() (bool, error) {
	var text [128]byte
	n, err := unix.Pread(int(g.events.Fd()), text[:], 0)
	if err != nil {
		return false, err
	}
	return !populated(text[:n]), nil
}

func (t *cgroupTask) terminate() { t.signalGroup(syscall.SIGTERM) }

func (t *cgroupTask) kill() error {
	if empty, err := t.group.empty(); err == nil && empty {
		return t.ended()
	}
	t.group.killed = true
	if _, err := t.group.kill.WriteAt([]byte("1"), 0); err != nil {
		return fmt.Errorf("cgroup.kill: %w", err)
	}
	limit := time.Now().Add(unkillable)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		empty, err := t.group.empty()
		switch {
		case err != nil:
			return fmt.Errorf("cgroup.events: %w", err)
		case empty:
			return t.ended()
		case time.Now().After(limit):
			return errUnkillable
		}
		time.Sleep(pause)
	}
}

func (t *cgroupTask) wait() (ending, error) {
	end, err := t.leader.wait()
	if empty, failed := t.group.empty(); failed == nil && empty && !t.group.killed {
		t.keeper.give(t.group)
	} else {
		t.group.close()
	}
	return end, err
}
