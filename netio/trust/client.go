package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"shoal/netio"
)

// ClientConfig says how a client shows who it is, and how it knows the gateway.
type ClientConfig struct {
	Folder   string // needed
	Identity string // the client whose certificate and key are in the folder; empty: none is shown
	Address  string // host:port of the gateway, as known_gateways has it
	// AcceptNew lets the key of a gateway that is not in known_gateways yet be written there, where no CA of the folder has
	// signed its certificate. Another key than the one that is there is refused in any case.
	AcceptNew bool
}

// Errors of gateways' keys; they match netio.ErrUntrusted too.
var (
	// ErrUnknownGateway says that no CA has signed the gateway's certificate, and that its key is not known.
	ErrUnknownGateway = errors.New("gateway is not known")
	// ErrChangedGateway says that the gateway has another key than the one that is known.
	ErrChangedGateway = errors.New("gateway has another key than before")
)

// TLS returns what SwarmConfig.TLS needs. The gateway is trusted when known_gateways has its key for this address, and else when a
// CA of ca.pem has signed its certificate for the host of the address. The files are read at each handshake, so that they can be
// made anew while a swarm lives.
func (c ClientConfig) TLS() (*tls.Config, error) {
	if c.Identity != "" {
		if err := CheckName(c.Identity); err != nil {
			return nil, err
		}
		if _, err := loadPair(c.pair()); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("no certificate of %s: make one with 'shoal cert issue %s', or copy %s here: %w", c.Identity, c.Identity, c.pair(), err)
			}
			return nil, err
		}
	}
	var accepting sync.Mutex
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			accepting.Lock()
			defer accepting.Unlock()
			if err := c.verify(state); err != nil {
				return fmt.Errorf("%w: %w", netio.ErrUntrusted, err)
			}
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.Identity == "" {
				return &tls.Certificate{}, nil
			}
			pair, err := loadPair(c.pair())
			return &pair, err
		},
	}, nil
}

func (c ClientConfig) pair() string { return filepath.Join(c.Folder, c.Identity+".pem") }

// verify says why the gateway is not to be trusted.
func (c ClientConfig) verify(state tls.ConnectionState) error {
	cert := state.PeerCertificates[0]
	key, known := Fingerprint(cert), ""
	file := filepath.Join(c.Folder, fileKnown)
	if err := readLines(file, 2, func(w []string) error {
		if w[0] == c.Address && known != key {
			known = w[1]
		}
		return nil
	}); err != nil {
		return err
	}
	switch {
	case known == key:
		return nil
	case known != "":
		return fmt.Errorf("%w: %s has %s, and %s says %s; if that is right, take the line away", ErrChangedGateway, c.Address, key, file, known)
	}
	cas, err := loadCertificates(filepath.Join(c.Folder, fileCA))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		pool, between := x509.NewCertPool(), x509.NewCertPool()
		for _, ca := range cas {
			pool.AddCert(ca)
		}
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		if _, err = cert.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: state.ServerName}); err == nil {
			return nil
		}
	}
	if !c.AcceptNew {
		return fmt.Errorf("%w: %s has key %s; with accept-new it is written to %s (%w)", ErrUnknownGateway, c.Address, key, file, err)
	}
	return appendLine(file, c.Address+" "+key, 0o644)
}

// AddToken makes a bearer token for a client, writes its hash to the folder, and returns the token, which is kept nowhere.
func AddToken(folder, name string) (secret, file string, err error) {
	if err := CheckName(name); err != nil {
		return "", "", err
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails; it ends the process instead
	secret = base64.RawURLEncoding.EncodeToString(raw)
	file = filepath.Join(folder, fileTokens)
	return secret, file, appendLine(file, fmt.Sprintf("%x %s", sha256.Sum256([]byte(secret)), name), 0o600)
}

// Pin lets the client that has the key of a certificate in under this name, without a CA.
func Pin(folder, name string, cert *x509.Certificate) (file string, err error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	file = filepath.Join(folder, filePins)
	return file, appendLine(file, Fingerprint(cert)+" "+name, 0o644)
}
