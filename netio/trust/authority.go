package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Lifetimes of certificates. They begin an hour early, for clocks that are slow.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 397 * 24 * time.Hour
	early    = time.Hour
)

// Init makes a CA and the gateway's certificate in the folder, which it makes too, and returns the files. The gateway's certificate
// is for these hosts beside localhost and this machine's name. Where there is a CA already, ErrExists.
func Init(folder string, hosts []string) (files []string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(folder, fileCA)); err == nil {
		return nil, fmt.Errorf("%s %w", filepath.Join(folder, fileCA), ErrExists)
	}
	if files, err = newAuthority(folder); err != nil {
		return files, err
	}
	more, err := IssueGateway(folder, hosts)
	return append(files, more...), err
}

// Rotate makes a new CA, which signs from now on. The old one stays trusted: see the package documentation.
func Rotate(folder string) (files []string, err error) { return newAuthority(folder) }

// newAuthority makes a CA, and puts it before those that are there.
func newAuthority(folder string) ([]string, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "shoal CA " + time.Now().UTC().Format("2006-01-02 15:04:05")}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := sign(template, template, key.Public(), key, caLife)
	if err != nil {
		return nil, err
	}
	cert, private := filepath.Join(folder, fileCA), filepath.Join(folder, fileCAKey)
	encoded, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	old, err := os.ReadFile(cert)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// The certificate first: between the two writes the old key still has its own.
	if err := replace(cert, append(encodeCertificate(der), old...), 0o644); err != nil {
		return nil, err
	}
	return []string{cert, private}, replace(private, encoded, 0o600)
}

// IssueGateway makes the gateway's certificate anew: see Init.
func IssueGateway(folder string, hosts []string) ([]string, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: gatewayName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	if name, err := os.Hostname(); err == nil && name != "" && name != "localhost" {
		template.DNSNames = append(template.DNSNames, name)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return issue(folder, gatewayName, template, true)
}

// Issue makes the certificate of a client, or makes it anew with again.
func Issue(folder, name string, again bool) ([]string, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return issue(folder, name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, again)
}

// issue signs a certificate with the CA, and writes it and its key.
func issue(folder, name string, template *x509.Certificate, again bool) ([]string, error) {
	ca, caKey, err := loadAuthority(folder)
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := sign(template, ca, key.Public(), caKey, leafLife)
	if err != nil {
		return nil, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	cert := filepath.Join(folder, name+".pem")
	write := writeNew
	if again {
		write = replace
	}
	// Both in one file: who reads a pair while it is made anew must not get halves of two.
	if err := write(cert, append(encodeCertificate(der), encoded...), 0o600); err != nil {
		return nil, err
	}
	return []string{cert}, nil
}

// loadAuthority returns the certificate that signs, and its key.
func loadAuthority(folder string) (*x509.Certificate, crypto.Signer, error) {
	all, err := loadCertificates(filepath.Join(folder, fileCA))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", folder, ErrNoFolder)
	}
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(folder, fileCAKey)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, nil, fmt.Errorf("%s: no key in it", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s: it is no ECDSA key", path)
	}
	for _, ca := range all {
		if key.PublicKey.Equal(ca.PublicKey) {
			return ca, key, nil
		}
	}
	return nil, nil, fmt.Errorf("%s: it is the key of no certificate in %s", path, fileCA)
}

// loadCertificates reads a file of certificates, at least one.
func loadCertificates(path string) (all []*x509.Certificate, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	return all, nil
}

// loadPair reads a certificate and its key out of one file.
func loadPair(path string) (tls.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return pair, fmt.Errorf("%s: %w", path, err)
	}
	return pair, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sign fills in what every certificate has, and signs it.
func sign(template, parent *x509.Certificate, public any, key crypto.Signer, life time.Duration) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-early), time.Now().Add(life)
	if parent != template && template.NotAfter.After(parent.NotAfter) {
		template.NotAfter = parent.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, template, parent, public, key)
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// Fingerprint returns how files name the public key of a certificate: SHA256: and the hash of its SubjectPublicKeyInfo.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Show returns the certificate of a client, or of the gateway.
func Show(folder, name string) (*x509.Certificate, error) {
	if name != gatewayName {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	all, err := loadCertificates(filepath.Join(folder, name+".pem"))
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Revoke writes down that the certificate of a client is good no more. The file of the certificate stays.
func Revoke(folder, name string) (file string, err error) {
	cert, err := Show(folder, name)
	if err != nil {
		return "", err
	}
	file = filepath.Join(folder, fileRevoked)
	return file, appendLine(file, fmt.Sprintf("%x %s", cert.SerialNumber, name), 0o644)
}
