package sshtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Key is a key pair in two files: File, and File with .pub appended.
type Key struct {
	File   string
	Signer ssh.Signer
}

// Line returns the public key as files have it: type and base64, without a line end.
func (k Key) Line() string {
	line := ssh.MarshalAuthorizedKey(k.Signer.PublicKey())
	return string(line[:len(line)-1])
}

// NewKey makes a key of type ed25519, ecdsa or rsa in the folder.
func NewKey(t testing.TB, dir, kind string) Key {
	t.Helper()
	return newKey(t, dir, kind, "")
}

// NewLockedKey makes an ed25519 key with a passphrase.
func NewLockedKey(t testing.TB, dir, passphrase string) Key {
	t.Helper()
	return newKey(t, dir, "ed25519", passphrase)
}

func newKey(t testing.TB, dir, kind, passphrase string) Key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch kind {
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no key type %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "sshtest")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "sshtest", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(dir, "key-"+kind+"-*")
	if err != nil {
		t.Fatal(err)
	}
	k := Key{File: f.Name(), Signer: signer}
	if err := pem.Encode(f, block); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, k.File+".pub", k.Line()+"\n")
	return k
}

// write writes a file of the test.
func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
