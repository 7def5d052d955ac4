package sshrun

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"shoal/netio/wildcard"
)

// knownHosts is what known_hosts files say, with the verdicts of OpenSSH. Files are read again when they have changed.
type knownHosts struct {
	mu    sync.Mutex // guards files, and serialises additions
	files map[string]*knownFile
}

// knownFile is one file as it was when it was read.
type knownFile struct {
	modified time.Time
	size     int64
	exact    map[string][]int // entries by names without wildcards
	other    []int            // entries with wildcards, exclusions or hashes
	entries  []knownEntry
}

// knownEntry is one line.
type knownEntry struct {
	file   string
	line   int
	marker string // "", cert-authority or revoked
	hosts  string // the first field
	key    ssh.PublicKey
}

const (
	markerCA      = "cert-authority"
	markerRevoked = "revoked"
)

// verdict is what known_hosts files say about a key.
type verdict int

const (
	hostNew verdict = iota
	hostOK
	hostChanged
	hostRevoked
)

// lookup returns the entries of these files for a name, which is written as knownName makes it.
func (k *knownHosts) lookup(files []string, name string) (found []knownEntry, err error) {
	for _, file := range files {
		f, err := k.read(file)
		if err != nil {
			return nil, err
		}
		for _, i := range f.exact[name] {
			found = append(found, f.entries[i])
		}
		for _, i := range f.other {
			if matchHosts(f.entries[i].hosts, name) {
				found = append(found, f.entries[i])
			}
		}
	}
	return found, nil
}

// read returns a file as it is now. One that is not there is empty.
func (k *knownHosts) read(name string) (*knownFile, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &knownFile{}, nil
	}
	if err != nil {
		return nil, err
	}
	if f := k.files[name]; f != nil && f.size == info.Size() && f.modified.Equal(info.ModTime()) {
		return f, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := parseKnownHosts(name, data)
	f.size, f.modified = info.Size(), info.ModTime()
	if k.files == nil {
		k.files = map[string]*knownFile{}
	}
	k.files[name] = f
	return f, nil
}

// parseKnownHosts reads a file. Lines that say nothing to us are skipped, as OpenSSH does.
func parseKnownHosts(name string, data []byte) *knownFile {
	f := &knownFile{exact: map[string][]int{}}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		e := knownEntry{file: name, line: n}
		if len(fields) > 0 && strings.HasPrefix(fields[0], "@") {
			e.marker, fields = fields[0][1:], fields[1:]
			if e.marker != markerCA && e.marker != markerRevoked {
				continue
			}
		}
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		blob, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			continue
		}
		if e.key, err = ssh.ParsePublicKey(blob); err != nil || e.key.Type() != fields[1] {
			continue
		}
		e.hosts = strings.ToLower(fields[0])
		if strings.HasPrefix(fields[0], "|") {
			e.hosts = fields[0] // base64
		}
		i := len(f.entries)
		f.entries = append(f.entries, e)
		if strings.ContainsAny(e.hosts, "*?!|") {
			f.other = append(f.other, i)
			continue
		}
		for host := range strings.SplitSeq(e.hosts, ",") {
			f.exact[host] = append(f.exact[host], i)
		}
	}
	return f
}

// matchHosts matches the first field of a line: a hash, or patterns with commas between, of which none with ! may match.
func matchHosts(hosts, name string) bool {
	if strings.HasPrefix(hosts, "|") {
		part := strings.Split(hosts, "|")
		if len(part) != 4 || part[1] != "1" {
			return false
		}
		salt, err := base64.StdEncoding.DecodeString(part[2])
		if err != nil {
			return false
		}
		return base64.StdEncoding.EncodeToString(hashHost(salt, name)) == part[3]
	}
	found := false
	for pattern := range strings.SplitSeq(hosts, ",") {
		pattern, not := strings.CutPrefix(pattern, "!")
		if wildcard.Match(pattern, name) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

func hashHost(salt []byte, name string) []byte {
	h := hmac.New(sha1.New, salt)
	_, _ = io.WriteString(h, name)
	return h.Sum(nil)
}

// knownName is how known_hosts files call a host at a port.
func knownName(host, port string) string {
	host = strings.ToLower(host)
	if port == "22" {
		return host
	}
	return "[" + host + "]:" + port
}

// judge says what entries for a host mean for the key that it has shown; at is the entry that decided.
func judge(entries []knownEntry, key ssh.PublicKey, host string) (v verdict, at *knownEntry, err error) {
	cert, isCert := key.(*ssh.Certificate)
	for i := range entries {
		e := &entries[i]
		if e.marker == markerRevoked && (sameKey(e.key, key) || isCert && (sameKey(e.key, cert.Key) || sameKey(e.key, cert.SignatureKey))) {
			return hostRevoked, e, nil
		}
	}
	if isCert {
		for i := range entries {
			if e := &entries[i]; e.marker == markerCA && sameKey(e.key, cert.SignatureKey) {
				return hostOK, e, checkHostCertificate(cert, host)
			}
		}
		key = cert.Key // no authority of ours: the key counts, as if there were no certificate
	}
	for i := range entries {
		e := &entries[i]
		if e.marker != "" {
			continue
		}
		if sameKey(e.key, key) {
			return hostOK, e, nil
		}
		v, at = hostChanged, e
	}
	return v, at, nil
}

// checkHostCertificate says why a certificate of a known authority does not hold for a host.
func checkHostCertificate(cert *ssh.Certificate, host string) error {
	now := uint64(time.Now().Unix())
	switch {
	case cert.CertType != ssh.HostCert:
		return errors.New("its certificate is one for users")
	case now < cert.ValidAfter:
		return errors.New("its certificate is not valid yet")
	case cert.ValidBefore != ssh.CertTimeInfinity && now >= cert.ValidBefore:
		return errors.New("its certificate has expired")
	case len(cert.CriticalOptions) > 0:
		return errors.New("its certificate has options that are not understood")
	}
	for _, name := range cert.ValidPrincipals {
		if wildcard.Match(strings.ToLower(name), strings.ToLower(host)) {
			return verifyCertificate(cert)
		}
	}
	if len(cert.ValidPrincipals) == 0 {
		return errors.New("its certificate names no host")
	}
	return fmt.Errorf("its certificate is one for %s", strings.Join(cert.ValidPrincipals, ", "))
}

// verifyCertificate checks the signature of the authority.
func verifyCertificate(cert *ssh.Certificate) error {
	principal := cert.ValidPrincipals[0]
	checker := ssh.CertChecker{IsHostAuthority: func(ssh.PublicKey, string) bool { return true }}
	return checker.CheckCert(principal, cert)
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// hostKeyAlgorithms returns the algorithms that a host may prove itself with whose entries are these; nil, which is all, where
// the files do not know it. What a device may prove with a key that the files do not have would be of no use. With others,
// and where the files have only authorities, the other algorithms follow.
func hostKeyAlgorithms(entries []knownEntry, others bool) (algorithms []string) {
	add := func(names ...string) {
		for _, n := range names {
			if !slices.Contains(algorithms, n) {
				algorithms = append(algorithms, n)
			}
		}
	}
	for _, e := range entries {
		if e.marker == markerCA {
			add(ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
				ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
		}
	}
	authorities := len(algorithms) > 0
	plain := false
	for _, e := range entries {
		if e.marker != "" {
			continue
		}
		plain = true
		if e.key.Type() == ssh.KeyAlgoRSA {
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			add(e.key.Type())
		}
	}
	if plain && others || authorities && !plain {
		add(ssh.SupportedAlgorithms().HostKeys...)
	}
	return algorithms
}

// add writes a host's key to the file that new ones go to, for accept-new.
func (k *knownHosts) add(file, name string, key ssh.PublicKey, hash bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if hash {
		salt := make([]byte, sha1.Size)
		_, _ = rand.Read(salt)
		name = "|1|" + base64.StdEncoding.EncodeToString(salt) + "|" + base64.StdEncoding.EncodeToString(hashHost(salt, name))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	line := name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal()) + "\n"
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	delete(k.files, file) // its time may be the same
	return errors.Join(err, f.Close())
}

// splitHostPort splits host:port; without a port the whole is the host, which may be an IPv6 address, in brackets or not.
func splitHostPort(text string) (host, port string) {
	if host, port, err := net.SplitHostPort(text); err == nil {
		return host, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
}
