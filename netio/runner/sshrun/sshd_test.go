package sshrun

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"shoal/netio/runner"
	"shoal/netio/runner/sshtest"
)

func TestOutcomesAtARealSshd(t *testing.T) {
	t.Parallel()
	s := sshtest.StartSshd(t, sshtest.Options{Config: "AcceptEnv ALLOWED"})
	r := newRunner(t, Config{ConfigFile: s.Config})
	for _, c := range []struct {
		req            runner.Request
		stdout, stderr string
		exit           int
		signal         string
	}{
		{runner.Request{Command: "echo out; echo err >&2"}, "out\n", "err\n", 0, ""},
		{runner.Request{Command: "exit 3"}, "", "", 3, ""},
		{runner.Request{Command: "kill -KILL $$"}, "", "", 0, "KILL"},
		{runner.Request{Command: "cat", Stdin: []byte("from stdin")}, "from stdin", "", 0, ""},
		{runner.Request{Command: "whoami"}, s.User + "\n", "", 0, ""},
		{runner.Request{Command: "echo $ALLOWED", Env: []string{"ALLOWED=a b"}}, "a b\n", "", 0, ""},
		{runner.Request{Argv: []string{"printf", "%s|", "a b", "$HOME", "it's", "", "*"}}, "a b|$HOME|it's||*|", "", 0, ""},
	} {
		c.req.Target = s.Host
		rec := r.Run(t.Context(), &c.req, nil)
		if rec.Stage != runner.StageDone || string(rec.Stdout) != c.stdout || string(rec.Stderr) != c.stderr || rec.Exit != c.exit || rec.Signal != c.signal {
			t.Errorf("%s: %+v, %q, %q", c.req.CommandText(), rec, rec.Stdout, rec.Stderr)
		}
	}
	rec := ask(t, r, s.Host, "true", func(req *runner.Request) { req.Env = []string{"REFUSED=secret"} })
	if rec.Reason != runner.ReasonFailed || !strings.Contains(rec.Error, "start: the device does not take the variable REFUSED") || strings.Contains(rec.Error, "secret") {
		t.Errorf("%q", rec.Error)
	}
	big := make([]byte, 5<<20)
	rec = ask(t, r, s.Host, "cat", func(req *runner.Request) { req.Stdin, req.Output = big, 100000 })
	if !rec.OK() || len(rec.Stdout) != 100000 || rec.StdoutDropped != 5<<20-100000 {
		t.Errorf("%s: %d bytes, %d dropped", rec.Error, len(rec.Stdout), rec.StdoutDropped)
	}
	rec = ask(t, r, s.Host, "sleep 1000 & echo $! >&2; echo started")
	end(t, string(rec.Stderr))
	if rec.Stage != runner.StageDone || string(rec.Stdout) != "started\n" || string(rec.Detail) != `{"output_held":true}` {
		t.Errorf("with something left behind: %+v, %q", rec, rec.Stdout)
	}
}

// TestTimeoutAtARealSshd ends commands that do not want to end.
func TestTimeoutAtARealSshd(t *testing.T) {
	t.Parallel()
	s := sshtest.StartSshd(t, sshtest.Options{})
	r := newRunner(t, Config{ConfigFile: s.Config, Grace: 100 * time.Millisecond})
	for _, script := range []string{"echo $$; exec sleep 1000", "trap '' TERM; echo $$; while :; do sleep 0.1; done"} {
		for limit := 300 * time.Millisecond; ; limit *= 2 {
			rec := ask(t, r, s.Host, script, func(req *runner.Request) { req.Timeout = limit })
			if rec.Reason != runner.ReasonTimeout || limit > time.Minute {
				t.Fatalf("%+v", rec)
			}
			if rec.Stage == runner.StageRun && len(rec.Stdout) > 0 {
				end(t, string(rec.Stdout))
				if want := map[bool]string{true: "KILL", false: "TERM"}[strings.HasPrefix(script, "trap")]; rec.Signal != want && rec.Signal != "" {
					t.Errorf("%s: signal %q", script, rec.Signal)
				}
				break
			}
		}
	}
}

// end ends a process that a command has left at the device, whose id it has written: sshd itself lets it live.
func end(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil || n <= 1 {
		t.Fatalf("%q is no process id", pid)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Error(err)
	}
}

func TestMaxSessionsOfARealSshd(t *testing.T) {
	t.Parallel()
	s := sshtest.StartSshd(t, sshtest.Options{Config: "MaxSessions 2"})
	r := newRunner(t, Config{ConfigFile: s.Config})
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			if rec := ask(t, r, s.Host, fmt.Sprintf("echo %d; sleep 0.05", i)); !rec.OK() || string(rec.Stdout) != fmt.Sprintf("%d\n", i) {
				t.Errorf("%d: %+v", i, rec)
			}
		})
	}
	all.Wait()
}

func TestJumpThroughARealSshd(t *testing.T) {
	t.Parallel()
	s := sshtest.StartSshd(t, sshtest.Options{})
	r := newRunner(t, Config{ConfigFile: s.WriteConfig(t, "Host jump\n  HostName "+s.Host+"\nHost far\n  HostName "+s.Host+"\n  ProxyJump jump\n")})
	if rec := ask(t, r, "far", "echo $SSH_CONNECTION"); !rec.OK() || len(strings.Fields(string(rec.Stdout))) != 4 {
		t.Errorf("%+v", rec)
	}
}

func TestKeysAtARealSshd(t *testing.T) {
	t.Parallel()
	authority := sshtest.NewKey(t, t.TempDir(), "ed25519")
	ca := write(t, authority.Line()+"\n")
	s := sshtest.StartSshd(t, sshtest.Options{Config: "TrustedUserCAKeys " + ca})
	base := fmt.Sprintf("Host *\n  Port %s\n  User %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n", s.Port, s.User, s.KnownHosts)
	with := func(more string) *Runner { return newRunner(t, Config{ConfigFile: write(t, base+more)}) }

	other, locked := sshtest.NewKey(t, t.TempDir(), "ecdsa"), sshtest.NewLockedKey(t, t.TempDir(), "open")
	rec := ask(t, with("  IdentityAgent none\n  IdentityFile "+other.File+"\n  IdentityFile "+locked.File+"\n"), s.Host, "true")
	if rec.Reason != runner.ReasonAuth || rec.Stage != runner.StageAuth || !strings.Contains(rec.Error, other.File) || !strings.Contains(rec.Error, locked.File+" (not tried: it has a passphrase") {
		t.Errorf("%q", rec.Error)
	}

	holder := sshtest.NewKey(t, t.TempDir(), "ed25519")
	cert := &ssh.Certificate{Key: holder.Signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{s.User}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority.Signer); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(holder.File+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	if rec := ask(t, with("  IdentityAgent none\n  IdentityFile "+holder.File+"\n"), s.Host, "true"); !rec.OK() {
		t.Errorf("with a certificate: %+v", rec)
	}

	if _, err := exec.LookPath("ssh-agent"); err != nil {
		t.Skip("ssh-agent is not installed")
	}
	socket := t.TempDir() + "/agent"
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	eventually(t, "the agent is there", func() bool { _, err := os.Stat(socket); return err == nil })
	add := exec.Command("ssh-add", s.Identity.File)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	if rec := ask(t, with("  IdentityAgent "+socket+"\n  IdentityFile none\n"), s.Host, "true"); !rec.OK() {
		t.Errorf("with an agent: %+v", rec)
	}
}

func TestLockedKeysAreUnlockedOnce(t *testing.T) {
	t.Parallel()
	locked := sshtest.NewLockedKey(t, t.TempDir(), "open")
	r := newRunner(t, Config{ConfigFile: write(t, "IdentityAgent none\nIdentityFile "+locked.File+"\n")})
	if files := r.Locked("a", "b"); len(files) != 1 || files[0] != locked.File {
		t.Fatalf("%q", files)
	}
	if err := r.Unlock(locked.File, []byte("wrong")); err == nil {
		t.Error("a wrong passphrase was taken")
	}
	if err := r.Unlock(locked.File, []byte("open")); err != nil || len(r.Locked("a")) != 0 {
		t.Errorf("%v, %q", err, r.Locked("a"))
	}
}

// TestVerdictsAreThoseOfOpenSSH lets ssh and the runner judge the same host keys by the same known_hosts files.
func TestVerdictsAreThoseOfOpenSSH(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed")
	}
	dir := t.TempDir()
	ed, ec := sshtest.NewKey(t, dir, "ed25519"), sshtest.NewKey(t, dir, "ecdsa")
	wrong, authority := sshtest.NewKey(t, dir, "ed25519"), sshtest.NewKey(t, dir, "ed25519")
	s := sshtest.StartSshd(t, sshtest.Options{HostKeys: []sshtest.Key{ed, ec}})
	certified := sshtest.NewKey(t, dir, "ed25519")
	certify(t, certified, authority, "127.0.0.1")
	withCert := sshtest.StartSshd(t, sshtest.Options{HostKeys: []sshtest.Key{certified}, Config: "HostCertificate " + certified.File + "-cert.pub"})

	at := func(s *sshtest.Sshd) string { return fmt.Sprintf("[%s]:%s", s.Host, s.Port) }
	host := at(s)
	hashed := "|1|c2FsdHNhbHRzYWx0c2FsdHNhbHQ=|" + base64.StdEncoding.EncodeToString(hashHost([]byte("saltsaltsaltsaltsalt"), host))
	for name, c := range map[string]struct {
		known  string
		sshd   *sshtest.Sshd
		reason runner.Reason
	}{
		"plain":                  {host + " " + ed.Line(), s, ""},
		"second key":             {host + " " + ec.Line(), s, ""},
		"both":                   {host + " " + ed.Line() + "\n" + host + " " + ec.Line(), s, ""},
		"unknown":                {"elsewhere " + ed.Line(), s, runner.ReasonKeyUnknown},
		"empty":                  {"", s, runner.ReasonKeyUnknown},
		"changed":                {host + " " + wrong.Line(), s, runner.ReasonKeyChanged},
		"wrong and right":        {host + " " + wrong.Line() + "\n" + host + " " + ed.Line(), s, ""},
		"right and wrong":        {host + " " + ed.Line() + "\n" + host + " " + wrong.Line(), s, ""},
		"hashed":                 {hashed + " " + ed.Line(), s, ""},
		"hashed and changed":     {hashed + " " + wrong.Line(), s, runner.ReasonKeyChanged},
		"wildcard":               {"[127.0.*]:" + s.Port + " " + ed.Line(), s, ""},
		"wildcard of nothing":    {"[127.0.0.1*]:" + s.Port + " " + ed.Line(), s, ""},
		"question mark":          {"[127.0.0.?]:" + s.Port + " " + ed.Line(), s, ""},
		"excluded":               {"[127.0.*]:" + s.Port + ",!" + host + " " + ed.Line(), s, runner.ReasonKeyUnknown},
		"list":                   {"other," + host + " " + ed.Line(), s, ""},
		"without its port":       {s.Host + " " + ed.Line(), s, ""},
		"wrong without its port": {s.Host + " " + wrong.Line(), s, runner.ReasonKeyUnknown},
		"another port":           {fmt.Sprintf("[%s]:1", s.Host) + " " + ed.Line(), s, runner.ReasonKeyUnknown},
		"revoked":                {"@revoked " + host + " " + ed.Line() + "\n" + host + " " + ed.Line(), s, runner.ReasonKeyRevoked},
		"revoked elsewhere":      {"@revoked elsewhere " + ed.Line() + "\n" + host + " " + ed.Line(), s, ""},
		"comments and nonsense":  {"# comment\nnonsense\n\n@unknown " + host + " " + wrong.Line() + "\n" + host + " " + ed.Line() + " a comment", s, ""},
		"authority":              {"@cert-authority " + at(withCert) + " " + authority.Line(), withCert, ""},
		"authority of a pattern": {"@cert-authority * " + authority.Line(), withCert, ""},
		"wrong authority":        {"@cert-authority " + at(withCert) + " " + wrong.Line(), withCert, runner.ReasonKeyUnknown},
		"authority as a key":     {at(withCert) + " " + authority.Line(), withCert, runner.ReasonKeyChanged},
		"key beside certificate": {at(withCert) + " " + certified.Line(), withCert, ""},
		"revoked authority":      {"@revoked * " + authority.Line() + "\n@cert-authority * " + authority.Line(), withCert, runner.ReasonKeyRevoked},
		"key for an authority":   {"@cert-authority " + host + " " + ed.Line(), s, runner.ReasonKeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := write(t, c.known+"\n")
			config := c.sshd.WriteConfig(t, "UserKnownHostsFile "+known)
			rec := ask(t, newRunner(t, Config{ConfigFile: config}), c.sshd.Host, "true")
			if rec.Reason != c.reason || c.reason != "" && rec.Stage != runner.StageHostKey {
				t.Errorf("%s at %v: %q", rec.Reason, rec.Stage, rec.Error)
			}
			if c.reason == runner.ReasonKeyChanged && !strings.Contains(rec.Error, known+":1") {
				t.Errorf("file and line are not in %q", rec.Error)
			}
			out, err := exec.Command("ssh", "-F", config, "-o", "BatchMode=yes", c.sshd.Host, "true").CombinedOutput()
			if (err == nil) != rec.OK() {
				t.Errorf("ssh says %v: %s", err, out)
			}
			if err != nil && !bytes.Contains(out, []byte("Host key verification failed")) {
				t.Errorf("ssh: %s", out)
			}
		})
	}
}

// certify makes a host certificate beside a key.
func certify(t *testing.T, key, authority sshtest.Key, host string) {
	t.Helper()
	cert := &ssh.Certificate{Key: key.Signer.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{host}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority.Signer); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key.File+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNewKeysAreAccepted writes them down once, and refuses another one then.
func TestNewKeysAreAccepted(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{"no", "yes"} {
		d := sshtest.StartDevice(t, "", 0)
		known := t.TempDir() + "/folder/known_hosts"
		config := write(t, fmt.Sprintf("IdentityAgent none\nStrictHostKeyChecking accept-new\nHashKnownHosts %s\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\n", hash, known))
		for range 2 {
			if rec := ask(t, newRunner(t, Config{ConfigFile: config}), d.Target(), "echo"); !rec.OK() {
				t.Fatalf("%+v", rec)
			}
		}
		text, err := os.ReadFile(known)
		if err != nil || strings.Count(string(text), "\n") != 1 || strings.HasPrefix(string(text), "|1|") != (hash == "yes") {
			t.Errorf("%v, %q", err, text)
		}
		changed := strings.Replace(string(text), d.HostKey.Line(), sshtest.NewKey(t, t.TempDir(), "ed25519").Line(), 1)
		if err := os.WriteFile(known, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRunner(t, Config{ConfigFile: config})
		if rec := ask(t, r, d.Target(), "echo"); rec.Reason != runner.ReasonKeyChanged || !strings.Contains(rec.Error, known+":1") || !strings.Contains(rec.Error, "ssh-keygen -R") {
			t.Errorf("%+v", rec)
		}
		if err := os.WriteFile(known, text, 0o600); err != nil { // it was a mistake: the file is read again
			t.Fatal(err)
		}
		if rec := ask(t, r, d.Target(), "echo"); !rec.OK() {
			t.Errorf("after the file was mended: %+v", rec)
		}
		if rec := ask(t, newRunner(t, Config{ConfigFile: config, StrictHostKeyChecking: "yes", KnownHosts: "/dev/null"}), d.Target(), "echo"); rec.Reason != runner.ReasonKeyUnknown {
			t.Errorf("%+v", rec)
		}
		if rec := ask(t, newRunner(t, Config{ConfigFile: config, StrictHostKeyChecking: "no", KnownHosts: "/dev/null"}), d.Target(), "echo"); !rec.OK() {
			t.Errorf("%+v", rec)
		}
	}
}
