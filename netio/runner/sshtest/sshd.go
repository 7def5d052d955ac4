package sshtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say what kind of sshd a test wants. Zero is one with an ed25519 host key on 127.0.0.1.
type Options struct {
	Listen   []string // addresses of 127.0.0.0/8 or ::1; default 127.0.0.1
	HostKeys []Key    // default: a new ed25519 key
	Config   string   // further lines of sshd_config
}

// Sshd is a running sshd of the system. It lets one key in, as one user with /bin/sh.
type Sshd struct {
	Dir        string // the files below, and whatever the test puts there
	Host, Port string // of the first address
	User       string
	Identity   Key // the key that is let in
	HostKeys   []Key
	KnownHosts string // a file with the host keys, for all addresses
	Config     string // an ssh_config by which all that is known
}

// userName is the user of tests that run as root: root's own start-up files are slow, and a test is no reason to use them.
const userName = "shoal-test"

// soon is how long a server may take to come up.
const soon = time.Minute

// StartSshd starts an sshd that ends with the test. Where there is none the test is skipped.
func StartSshd(t testing.TB, o Options) *Sshd {
	t.Helper()
	program := findSshd(t)
	s := &Sshd{Dir: folder(t), User: loginUser(t), HostKeys: o.HostKeys}
	if len(o.Listen) == 0 {
		o.Listen = []string{"127.0.0.1"}
	}
	if len(s.HostKeys) == 0 {
		s.HostKeys = []Key{NewKey(t, s.Dir, "ed25519")}
	}
	s.Host, s.Identity = o.Listen[0], NewKey(t, s.Dir, "ed25519")
	authorized := write(t, filepath.Join(s.Dir, "authorized_keys"), s.Identity.Line()+"\n")
	if err := os.Chmod(authorized, 0o644); err != nil { // sshd reads it as the user
		t.Fatal(err)
	}
	for attempt := 1; ; attempt++ { // the port may be taken by somebody else in between
		s.Port = freePort(t, s.Host)
		config := sshdConfig(s, o, authorized)
		output, err := s.start(t, program, write(t, filepath.Join(s.Dir, "sshd_config"), config), o.Listen)
		if err == nil {
			break
		}
		if attempt == 20 {
			t.Fatalf("sshd: %v\n%s", err, output)
		}
	}
	var known strings.Builder
	for _, host := range o.Listen {
		for _, k := range s.HostKeys {
			fmt.Fprintf(&known, "[%s]:%s %s\n", host, s.Port, k.Line())
		}
	}
	s.KnownHosts = write(t, filepath.Join(s.Dir, "known_hosts"), known.String())
	s.Config = s.WriteConfig(t, "")
	return s
}

// WriteConfig writes an ssh_config by which every host is reached at the sshd's port, with its user, key and known_hosts.
// What first says comes before, so that it counts.
func (s *Sshd) WriteConfig(t testing.TB, first string) string {
	t.Helper()
	f, err := os.CreateTemp(s.Dir, "ssh_config-*")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return write(t, f.Name(), fmt.Sprintf("%s\nHost *\n  Port %s\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n"+
		"  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n", first, s.Port, s.User, s.Identity.File, s.KnownHosts))
}

// folder returns one of the test's own that other users may look into.
func folder(t testing.TB) string {
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return dir
}

func findSshd(t testing.TB) string {
	for _, name := range []string{"sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	t.Skip("sshd is not installed")
	return ""
}

var makeUser = sync.OnceValue(func() error {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), userName+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // tests of several packages run at once
		return err
	}
	if _, err := user.Lookup(userName); err == nil {
		return nil
	}
	// The password is none that can be typed; a locked account could not log in without PAM.
	out, err := exec.Command("useradd", "--system", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", "--password", "*", userName).CombinedOutput()
	if err != nil {
		return fmt.Errorf("useradd: %w: %s", err, out)
	}
	return nil
})

// loginUser returns who logs in: our own user, or as root one that is made for tests.
func loginUser(t testing.TB) string {
	if os.Getuid() == 0 {
		if err := makeUser(); err != nil {
			t.Skipf("as root the tests need a user of their own: %v", err)
		}
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Skipf("sshd needs /run/sshd: %v", err)
		}
		return userName
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

func sshdConfig(s *Sshd, o Options, authorized string) string {
	var b strings.Builder
	b.WriteString(o.Config + "\n")
	for _, host := range o.Listen {
		fmt.Fprintf(&b, "ListenAddress %s\n", net.JoinHostPort(host, s.Port))
	}
	for _, k := range s.HostKeys {
		fmt.Fprintf(&b, "HostKey %s\n", k.File)
	}
	fmt.Fprintf(&b, "AuthorizedKeysFile %s\nPidFile none\nUsePAM no\nUseDNS no\nStrictModes no\nPasswordAuthentication no\n"+
		"KbdInteractiveAuthentication no\nMaxStartups 1000\nPrintMotd no\nLogLevel VERBOSE\n", authorized)
	return b.String()
}

func freePort(t testing.TB, host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// log is what sshd writes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts sshd and waits until it listens.
func (s *Sshd) start(t testing.TB, program, config string, hosts []string) (output string, err error) {
	var out log
	args := []string{"-D", "-e", "-f", config}
	if exec.Command(program, "-t", "-f", config, "-o", "PerSourcePenalties=no").Run() == nil {
		args = append(args, "-o", "PerSourcePenalties=no") // since 9.8 failed log-ins make it refuse connections
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr, cmd.WaitDelay = &out, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	for limit := time.Now().Add(soon); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			return out.String(), fmt.Errorf("it has ended: %v", cmd.ProcessState)
		default:
		}
		if s.listens(out.String(), hosts) {
			t.Cleanup(func() {
				stop()
				if t.Failed() {
					t.Logf("sshd: %s", out.String())
				}
			})
			return "", nil
		}
	}
	stop()
	return out.String(), fmt.Errorf("it does not listen within %v", soon)
}

// listens reports whether sshd has said so of every address. That somebody answers there is not enough: it may be another.
func (s *Sshd) listens(output string, hosts []string) bool {
	for _, host := range hosts {
		if !strings.Contains(output, fmt.Sprintf("Server listening on %s port %s.", host, s.Port)) {
			return false
		}
	}
	return true
}
