package sshrun

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"

	"shoal/netio/runner"
)

// strictness is what becomes of a host key that no file knows, or that has changed.
type strictness int

const (
	strict    strictness = iota // both are refused
	acceptNew                   // an unknown one is added to the file
	off                         // both are accepted
)

// settings are what ssh_config says about one target.
type settings struct {
	target string // as the request has it
	alias  string // the host as it was asked for
	host   string // what is connected to
	port   string
	user   string

	identityFiles    []string
	certificateFiles []string
	identitiesOnly   bool
	agent            string // its socket; empty: none
	jumps            []string
	knownHosts       []string
	keyName          string // what known_hosts files call the host; empty: by host and port
	strict           strictness
	hash             bool

	connectTimeout time.Duration
	aliveInterval  time.Duration
	aliveMax       int
}

// defaultIdentities are the keys of a user, in the order of OpenSSH.
var defaultIdentities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"}

// settingsReader reads ssh_config once, at the beginning.
type settingsReader struct {
	config  Config
	files   *ssh_config.UserSettings
	home    string
	account string // the gateway's own user
}

func newSettingsReader(c Config) (*settingsReader, error) {
	r := &settingsReader{config: c, files: &ssh_config.UserSettings{}, home: os.Getenv("HOME")}
	if me, err := user.Current(); err == nil {
		r.account = me.Username
		if r.home == "" {
			r.home = me.HomeDir
		}
	}
	if c.ConfigFile != "" {
		r.files.ConfigFinder(func() string { return c.ConfigFile })
	}
	if _, err := r.files.GetStrict("a-host", "User"); err != nil {
		return nil, fmt.Errorf("ssh_config: %w", err)
	}
	return r, nil
}

// parseTarget splits [user@]host[:port]. An IPv6 address needs brackets where a port follows.
func parseTarget(target string) (user, host, port string, err error) {
	rest := target
	if i := strings.LastIndexByte(target, '@'); i >= 0 {
		user, rest = target[:i], target[i+1:]
	}
	host, port = splitHostPort(rest)
	if host == "" || strings.ContainsAny(host, " \t/[]@%") && !strings.Contains(host, ":") || strings.HasPrefix(host, "-") {
		return "", "", "", fmt.Errorf("%q is no target: it has to be [user@]host[:port]", target)
	}
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", "", "", fmt.Errorf("%q is no target: %q is no port", target, port)
		}
	}
	return user, host, port, nil
}

// read returns the settings of a target.
func (r *settingsReader) read(target string) (*settings, error) {
	user, host, port, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	s := &settings{target: target, alias: host}
	get := func(key string) string {
		value, failed := r.files.GetStrict(host, key)
		if failed != nil && err == nil {
			err = fmt.Errorf("ssh_config: %s: %w", key, failed)
		}
		return value
	}
	s.host = orText(strings.ReplaceAll(get("HostName"), "%h", host), host)
	s.port = orText(port, orText(get("Port"), "22"))
	s.user = orText(user, orText(get("User"), r.account))
	s.keyName = get("HostKeyAlias")
	s.identitiesOnly = isYes(get("IdentitiesOnly"))
	s.hash = isYes(get("HashKnownHosts"))
	s.agent = r.agentSocket(get("IdentityAgent"), s)
	s.identityFiles = r.paths(s, r.all(host, "IdentityFile"), defaultIdentities)
	s.certificateFiles = r.paths(s, r.all(host, "CertificateFile"), nil)
	s.knownHosts = r.knownHostsFiles(s, get)
	if jump := get("ProxyJump"); jump != "" && jump != "none" {
		s.jumps = strings.Split(strings.ReplaceAll(jump, " ", ""), ",")
	} else if command := get("ProxyCommand"); command != "" && command != "none" {
		err = fmt.Errorf("ssh_config: ProxyCommand is not supported; use ProxyJump")
	}
	switch mode := orText(r.config.StrictHostKeyChecking, get("StrictHostKeyChecking")); strings.ToLower(mode) {
	case "accept-new":
		s.strict = acceptNew
	case "no", "off":
		s.strict = off
	case "", "yes", "ask", "true": // there is nobody to ask
	default:
		err = fmt.Errorf("ssh_config: StrictHostKeyChecking %q: it has to be yes, accept-new or no", mode)
	}
	s.connectTimeout = seconds(get("ConnectTimeout"), r.config.ConnectTimeout)
	s.aliveInterval = seconds(get("ServerAliveInterval"), r.config.AliveInterval)
	s.aliveMax = 3
	if n, failed := strconv.Atoi(get("ServerAliveCountMax")); failed == nil && n > 0 {
		s.aliveMax = n
	}
	return s, err
}

// maxJumps bounds a chain of jump hosts: beyond it, it is a circle.
const maxJumps = 8

// hop returns the settings of a target's last jump host. Those before it are on the way to it.
func (r *settingsReader) hop(s *settings) (*settings, error) {
	last := s.jumps[len(s.jumps)-1]
	hop, err := r.read(last)
	if err != nil {
		return nil, fmt.Errorf("jump host %s: %w", last, err)
	}
	if before := s.jumps[:len(s.jumps)-1]; len(before) > 0 {
		hop.jumps = before
	}
	return hop, nil
}

// checkJumps follows the jump hosts of a target. Were they a circle, connections would wait for each other.
func (r *settingsReader) checkJumps(s *settings) (err error) {
	for n := 0; len(s.jumps) > 0; n++ {
		if n == maxJumps {
			return fmt.Errorf("more than %d jump hosts: they lead in a circle", maxJumps)
		}
		if s, err = r.hop(s); err != nil {
			return err
		}
	}
	return nil
}

// all returns every value of a key, without the default of the library.
func (r *settingsReader) all(host, key string) []string {
	values, err := r.files.GetAllStrict(host, key)
	if err != nil || len(values) == 1 && values[0] == ssh_config.Default(key) {
		return nil
	}
	return values
}

// knownHostsFiles returns the files that are read; new keys go to the first.
func (r *settingsReader) knownHostsFiles(s *settings, get func(string) string) []string {
	if r.config.KnownHosts != "" {
		return []string{r.config.KnownHosts}
	}
	users, globals := get("UserKnownHostsFile"), get("GlobalKnownHostsFile")
	if users == "" || users == ssh_config.Default("UserKnownHostsFile") {
		users = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
	}
	if globals == "" || globals == ssh_config.Default("GlobalKnownHostsFile") {
		globals = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
	}
	return r.paths(s, strings.Fields(users+" "+globals), nil)
}

// agentSocket returns the socket of the agent.
func (r *settingsReader) agentSocket(value string, s *settings) string {
	switch {
	case value == "none":
		return ""
	case value == "" || value == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(value, "$"):
		return os.Getenv(strings.Trim(value[1:], "{}"))
	}
	return r.expand(s, value)
}

// paths expands file names, and leaves out none.
func (r *settingsReader) paths(s *settings, names, def []string) (files []string) {
	if len(names) == 0 {
		names = def
	}
	for _, n := range names {
		if n = strings.Trim(n, `"`); n != "none" && n != "" {
			files = append(files, r.expand(s, n))
		}
	}
	return files
}

// expand replaces ~ and the tokens of OpenSSH.
func (r *settingsReader) expand(s *settings, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(r.home, rest)
	}
	path = strings.NewReplacer("%%", "%", "%d", r.home, "%h", s.host, "%n", s.alias, "%p", s.port, "%r", s.user, "%u", r.account).Replace(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.home, ".ssh", path)
	}
	return path
}

// timeout is the limit for each stage before the command: the request's, or that of ssh_config.
func (s *settings) timeout(req *runner.Request) time.Duration {
	if req.ConnectTimeout > 0 {
		return req.ConnectTimeout
	}
	return s.connectTimeout
}

func orText(text, def string) string {
	if text != "" {
		return text
	}
	return def
}

func isYes(text string) bool {
	return strings.EqualFold(text, "yes") || strings.EqualFold(text, "true")
}

// seconds reads a time of ssh_config; what is none is def.
func seconds(text string, def time.Duration) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if d, err := time.ParseDuration(strings.ToLower(text)); err == nil && d > 0 {
		return d
	}
	return def
}
