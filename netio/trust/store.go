package trust

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shoal/netio"
)

// Store is what a gateway knows of a folder.
type Store struct {
	folder  string
	loading sync.Mutex // one Reload at a time
	now     atomic.Pointer[files]
}

// files is what the files say; it does not change.
type files struct {
	gateway tls.Certificate
	cas     *x509.CertPool    // nil: none
	revoked map[string]string // serial number to name
	pins    map[string]string // hash of a public key to name
	tokens  []token
	users   map[uint32]string
}

type token struct {
	hash [sha256.Size]byte
	name string
}

// Open reads the folder.
func Open(folder string) (*Store, error) {
	s := &Store{folder: folder}
	return s, s.Reload()
}

// Reload reads the folder again. After an error what was read before stays.
func (s *Store) Reload() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	f, err := readFolder(s.folder)
	if err != nil {
		return err
	}
	s.now.Store(f)
	return nil
}

func readFolder(folder string) (*files, error) {
	f := &files{revoked: map[string]string{}, pins: map[string]string{}, users: map[uint32]string{}}
	var err error
	if f.gateway, err = loadPair(filepath.Join(folder, gatewayName+".pem")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", folder, ErrNoFolder)
		}
		return nil, err
	}
	cas, err := loadCertificates(filepath.Join(folder, fileCA))
	switch {
	case err == nil:
		f.cas = x509.NewCertPool()
		for _, ca := range cas {
			f.cas.AddCert(ca)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	named := func(name string, note func() error) error {
		if err := CheckName(name); err != nil {
			return err
		}
		return note()
	}
	return f, errors.Join(
		readLines(filepath.Join(folder, fileRevoked), 2, func(w []string) error { f.revoked[w[0]] = w[1]; return nil }),
		readLines(filepath.Join(folder, filePins), 2, func(w []string) error {
			return named(w[1], func() error {
				hash, ok := strings.CutPrefix(w[0], "SHA256:")
				if raw, err := base64.RawStdEncoding.DecodeString(hash); !ok || err != nil || len(raw) != sha256.Size {
					return fmt.Errorf("%q is no key: it has to be SHA256: and 43 characters, as 'shoal cert show' prints it", w[0])
				}
				f.pins[w[0]] = w[1]
				return nil
			})
		}),
		readLines(filepath.Join(folder, fileTokens), 2, func(w []string) error {
			return named(w[1], func() error {
				raw, err := hex.DecodeString(w[0])
				if err != nil || len(raw) != sha256.Size {
					return fmt.Errorf("%q is no SHA-256 of a token, 64 hexadecimal digits", w[0])
				}
				f.tokens = append(f.tokens, token{[sha256.Size]byte(raw), w[1]})
				return nil
			})
		}),
		readLines(filepath.Join(folder, fileUsers), 2, func(w []string) error {
			return named(w[1], func() error {
				uid, err := strconv.ParseUint(w[0], 10, 32)
				f.users[uint32(uid)] = w[1]
				return err
			})
		}))
}

// TLS returns what GatewayConfig.TLS needs: the certificate is the one that was read last. Clients may show any certificate, and
// none: Identify judges it, so that who is refused learns why.
func (s *Store) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &s.now.Load().gateway, nil
		},
	}
}

// Errors of Identify.
var (
	// ErrStranger says that nothing which a client has shown names it.
	ErrStranger = errors.New("show a certificate that this gateway's CA has signed, a key that is pinned here, or a token")
	// ErrRevoked says that a certificate is good no more.
	ErrRevoked = errors.New("certificate is revoked")
	// ErrBadToken says that a token is not known, or was sent where others could read it.
	ErrBadToken = errors.New("token is not good here")
)

// Authenticate is GatewayConfig.Authenticate.
func (s *Store) Authenticate(_ context.Context, c netio.Client) (identity string, err error) {
	f := s.now.Load()
	if c.Peer.TLS != nil && len(c.Peer.TLS.PeerCertificates) > 0 {
		return f.byCertificate(c.Peer.TLS.PeerCertificates, time.Now())
	}
	if len(c.Credential) > 0 {
		if !c.Peer.Private() {
			return "", fmt.Errorf("%w: it crossed the network as it is", ErrBadToken)
		}
		return f.byToken(c.Credential)
	}
	if c.Peer.UIDKnown {
		if name, ok := f.users[c.Peer.UID]; ok {
			return name, nil
		}
		return "", fmt.Errorf("user %d has no name here: %w", c.Peer.UID, ErrStranger)
	}
	return "", ErrStranger
}

// Check says why a client that was let in before is not to stay; nil: it may. Credentials are not kept, so a token is judged by
// whether one of its name is left.
func (s *Store) Check(p netio.Peer) error {
	f := s.now.Load()
	if p.TLS != nil && len(p.TLS.PeerCertificates) > 0 {
		name, err := f.byCertificate(p.TLS.PeerCertificates, time.Now())
		if err == nil && name != p.Identity {
			err = fmt.Errorf("it is %s now: %w", name, ErrStranger)
		}
		return err
	}
	for _, t := range f.tokens {
		if t.name == p.Identity && p.Private() {
			return nil
		}
	}
	if p.UIDKnown && f.users[p.UID] == p.Identity {
		return nil
	}
	return ErrStranger
}

func (f *files) byCertificate(chain []*x509.Certificate, now time.Time) (string, error) {
	cert := chain[0]
	serial := fmt.Sprintf("%x", cert.SerialNumber)
	if name, ok := f.revoked[serial]; ok {
		return "", fmt.Errorf("%w: %s of %s", ErrRevoked, serial, name)
	}
	if name, ok := f.pins[Fingerprint(cert)]; ok {
		return name, nil
	}
	name := cert.Subject.CommonName
	switch {
	case f.cas == nil:
		return "", ErrStranger
	case now.After(cert.NotAfter):
		return "", fmt.Errorf("certificate of %q has expired on %s", name, cert.NotAfter.Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return "", fmt.Errorf("certificate of %q is not good before %s", name, cert.NotBefore.Format(time.DateTime))
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:min(len(chain), 4)] {
		between.AddCert(c)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: f.cas, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return "", fmt.Errorf("certificate of %q (key %s): %w", name, Fingerprint(cert), err)
	}
	return name, CheckName(name)
}

// byToken compares with every token, each in the same time.
func (f *files) byToken(secret []byte) (name string, err error) {
	sum := sha256.Sum256(secret)
	err = ErrBadToken
	for _, t := range f.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.hash[:]) == 1 {
			name, err = t.name, nil
		}
	}
	return name, err
}
