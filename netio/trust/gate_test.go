package trust

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/netio"
)

// certificate writes a client's certificate that the test makes up.
func certificate(t *testing.T, folder, file, name string, ca *x509.Certificate, caKey crypto.Signer, from, until time.Duration) {
	t.Helper()
	key := must[crypto.Signer](t)(signerOf(newKey()))
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SerialNumber: serial(t), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	if ca == nil {
		ca, caKey = template, key
	}
	der := must[[]byte](t)(x509.CreateCertificate(nil, template, ca, key.Public(), caKey))
	private := must[[]byte](t)(encodeAny(key))
	write(t, filepath.Join(folder, file+".pem"), string(encodeCertificate(der))+string(private))
}

func TestStrangersAreRefusedByName(t *testing.T) {
	folder, other := newFolder(t, "alice", "gone"), newFolder(t, "alice")
	must[string](t)(Revoke(folder, "gone"))
	gw, _ := startGateway(t, folder, "")
	url := gw.URLs()[0]
	if name, err := who(t, url, as(t, folder, "alice", url)); err != nil || name != "alice" {
		t.Fatalf("%q, %v", name, err)
	}
	ca, key, err := loadAuthority(folder)
	if err != nil {
		t.Fatal(err)
	}
	certificate(t, folder, "expired", "alice", ca, key, -2*time.Hour, -time.Hour)
	certificate(t, folder, "early", "alice", ca, key, time.Hour, 2*time.Hour)
	certificate(t, folder, "self", "alice", nil, nil, -time.Hour, time.Hour)
	certificate(t, folder, "badname", "../../etc", ca, key, -time.Hour, time.Hour)
	copyFile(t, filepath.Join(other, "alice.pem"), filepath.Join(folder, "wrongca.pem"))
	copyFile(t, filepath.Join(folder, "gateway.pem"), filepath.Join(folder, "server.pem")) // not for clients
	for identity, text := range map[string]string{
		"expired": "has expired", "early": "is not good before", "self": "unknown authority", "wrongca": "unknown authority",
		"gone": "revoked", "badname": "bad name", "server": "incompatible key usage", "": "show a certificate",
	} {
		_, err := who(t, url, as(t, folder, identity, url))
		if !errors.Is(err, netio.ErrNotAllowed) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", identity, err)
		}
	}
}

func TestPinnedKeyNeedsNoCA(t *testing.T) {
	folder := newFolder(t)
	certificate(t, folder, "bob", "whatever", nil, nil, -time.Hour, time.Hour)
	must[string](t)(Pin(folder, "bob", must[*x509.Certificate](t)(Show(folder, "bob"))))
	gw, _ := startGateway(t, folder, "")
	if name, err := who(t, gw.URLs()[0], as(t, folder, "bob", gw.URLs()[0])); err != nil || name != "bob" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestTokensAndUsers(t *testing.T) {
	folder := newFolder(t)
	secret, file, err := AddToken(folder, "robot")
	if err != nil {
		t.Fatal(err)
	}
	if info := must[os.FileInfo](t)(os.Stat(file)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if data := must[[]byte](t)(os.ReadFile(file)); strings.Contains(string(data), secret) || !strings.Contains(string(data), fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))) {
		t.Errorf("the file has %q", data)
	}
	write(t, filepath.Join(folder, "users"), fmt.Sprintf("%d me # who runs the test\n", os.Getuid()))
	socket := filepath.Join(t.TempDir(), "s")
	gw, _ := startGateway(t, folder, "", "tls://127.0.0.1:0", "unix://"+socket, "tcp://127.0.0.1:0")
	inTLS, onUnix, plain := gw.URLs()[0], gw.URLs()[1], gw.URLs()[2]
	withToken := as(t, folder, "", inTLS)
	withToken.Credential = []byte(secret)
	for _, c := range []struct {
		url, want string
		config    *netio.SwarmConfig
	}{
		{inTLS, "robot", withToken},
		{onUnix, "robot", &netio.SwarmConfig{Connections: 1, Credential: []byte(secret)}},
		{onUnix, "me", &netio.SwarmConfig{Connections: 1}},
		{plain, "", &netio.SwarmConfig{Connections: 1, Credential: []byte(secret)}},
		{plain, "", &netio.SwarmConfig{Connections: 1}},
		{onUnix, "", &netio.SwarmConfig{Connections: 1, Credential: []byte(secret + "x")}},
	} {
		name, err := who(t, c.url, c.config)
		if name != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, netio.ErrNotAllowed) {
			t.Errorf("%s: %q, %v", c.url, name, err)
		}
	}
}

func TestGatewayIsKnownByItsKey(t *testing.T) {
	folder, client := newFolder(t, "alice"), t.TempDir()
	copyFile(t, filepath.Join(folder, "alice.pem"), filepath.Join(client, "alice.pem"))
	gw, _ := startGateway(t, folder, "")
	url := gw.URLs()[0]
	if _, err := who(t, url, as(t, client, "alice", url)); !errors.Is(err, netio.ErrUntrusted) || !errors.Is(err, ErrUnknownGateway) {
		t.Errorf("unknown: %v", err)
	}
	accept := ClientConfig{Folder: client, Identity: "alice", Address: url[len("tls://"):], AcceptNew: true}
	config := as(t, client, "alice", url)
	config.TLS, _ = accept.TLS()
	if name, err := who(t, url, config); err != nil || name != "alice" {
		t.Errorf("accepted: %q, %v", name, err)
	}
	if name, err := who(t, url, as(t, client, "alice", url)); err != nil || name != "alice" {
		t.Errorf("known: %q, %v", name, err)
	}
	must[[]string](t)(IssueGateway(folder, nil))
	eventually(t, "the new key is seen", func() bool { // also with accept-new it is refused
		_, err := who(t, url, config)
		return errors.Is(err, ErrChangedGateway) && errors.Is(err, netio.ErrUntrusted)
	})
}

// What changes in the folder takes effect while everything runs.
func TestRotationAndRevocationWhileServing(t *testing.T) {
	folder := newFolder(t, "alice", "bob")
	rights := filepath.Join(t.TempDir(), "rights.toml")
	write(t, rights, "[[allow]]\nwho = [\"*\"]\ncall = [\"who\", \"wait\"]\n")
	gw, gate := startGateway(t, folder, rights)
	url := gw.URLs()[0]
	alice, err := netio.Dial(testContext(t), url, as(t, folder, "alice", url))
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()

	must[[]string](t)(Rotate(folder))
	must[[]string](t)(IssueGateway(folder, nil))
	must[[]string](t)(Issue(folder, "carol", false)) // by the new CA
	eventually(t, "both CAs are trusted", func() bool {
		name, err := who(t, url, as(t, folder, "carol", url))
		return err == nil && name == "carol"
	})
	if name, err := who(t, url, as(t, folder, "bob", url)); err != nil || name != "bob" {
		t.Errorf("by the old CA: %q, %v", name, err)
	}

	write(t, rights, "[[allow]]\nwho = [\"*\"]\ncal = [\"who\"]\n")
	if err := gate.Reload(gw); !errors.Is(err, ErrBadRights) || !strings.Contains(err.Error(), "cal") {
		t.Errorf("bad rights: %v", err)
	}
	if out, err := alice.Call(testContext(t), "who", nil); err != nil || string(out) != "alice" {
		t.Errorf("the old rights do not stay: %q, %v", out, err)
	}

	waiting := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		var last error
		for _, err := range alice.Stream(testContext(t), "wait", nil) {
			if err == nil {
				close(begun)
			}
			last = err
		}
		waiting <- last
	}()
	select {
	case <-begun:
	case err := <-waiting:
		t.Fatal(err)
	}
	write(t, rights, "[[allow]]\nwho = [\"*\"]\ncall = [\"who\"]\n")
	if err := <-waiting; err == nil {
		t.Error("a stream that is not allowed any more goes on")
	}
	eventually(t, "alice is back, with fewer rights", func() bool {
		out, err := alice.Call(testContext(t), "who", nil)
		return err == nil && string(out) == "alice"
	})
	for _, err := range alice.Stream(testContext(t), "wait", nil) {
		if !errors.Is(err, netio.ErrNotAllowed) {
			t.Errorf("wait: %v", err)
		}
	}

	must[string](t)(Revoke(folder, "alice"))
	eventually(t, "alice is cut off", func() bool { return gw.Stats().Handlers == 0 })
	if _, err := who(t, url, as(t, folder, "alice", url)); !errors.Is(err, netio.ErrNotAllowed) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}
}

// openssl is a stranger that speaks TLS.
func TestOpenSSLAsAStranger(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	folder := newFolder(t, "alice")
	gw, _ := startGateway(t, folder, "")
	address := strings.TrimPrefix(gw.URLs()[0], "tls://")
	client := func(options ...string) string {
		cmd := exec.CommandContext(testContext(t), openssl, append([]string{"s_client", "-connect", address, "-servername", "localhost",
			"-CAfile", filepath.Join(folder, "ca.pem"), "-verify_return_error", "-ign_eof"}, options...)...)
		cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\n\r\n")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := client("-tls1_2"); !strings.Contains(out, "protocol version") {
		t.Errorf("TLS 1.2: %s", out)
	}
	pair := filepath.Join(folder, "alice.pem")
	if out := client("-cert", pair, "-key", pair); !strings.Contains(out, "TLSv1.3") || !strings.Contains(out, `starts with "GET`) {
		t.Errorf("TLS 1.3: %s", out)
	}
	if name, err := who(t, gw.URLs()[0], as(t, folder, "alice", gw.URLs()[0])); err != nil || name != "alice" {
		t.Errorf("%q, %v", name, err)
	}
}
