package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// TLS is how a handshake went, and what the certificate says. The certificate is not verified.
type TLS struct {
	Version  string    `json:"version,omitempty"` // 1.0 to 1.3
	Names    []string  `json:"names,omitempty"`   // subject's common name, then the alternative ones; 64 at most
	Issuer   string    `json:"issuer,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"` // when the certificate expires
	Error    string    `json:"error,omitempty"`    // why there was no handshake
}

// handshake tries TLS as a client that takes any version and any certificate. The connection is nil where it failed.
func handshake(ctx context.Context, conn net.Conn, target string) (net.Conn, *TLS) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} // it is looked at, not trusted
	if _, err := netip.ParseAddr(target); err != nil {
		config.ServerName = target
	}
	client := tls.Client(&limitedConn{Conn: conn, left: tlsLimit}, config)
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, &TLS{Error: bounded(tlsError(err), maxText)}
	}
	state := client.ConnectionState()
	t := &TLS{Version: strings.TrimPrefix(tls.VersionName(state.Version), "TLS ")}
	if len(state.PeerCertificates) > 0 {
		t.certificate(state.PeerCertificates[0])
	}
	return client, t
}

func tlsError(err error) string {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return "the answer is not TLS"
	}
	return err.Error()
}

func (t *TLS) certificate(c *x509.Certificate) {
	add := func(name string) {
		if name = bounded(name, maxName); name == "" || len(t.Names) == maxNames {
			return
		}
		for _, n := range t.Names {
			if n == name {
				return
			}
		}
		t.Names = append(t.Names, name)
	}
	add(c.Subject.CommonName)
	for _, name := range c.DNSNames {
		add(name)
	}
	for _, ip := range c.IPAddresses {
		add(ip.String())
	}
	t.Issuer, t.NotAfter = bounded(c.Issuer.String(), maxText), c.NotAfter.UTC()
}

// limitedConn ends a connection of which more than a number of bytes were read.
type limitedConn struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the other side sends too much")

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
