package sshrun

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// keyring holds the keys of identity files, each read once.
type keyring struct {
	mu    sync.Mutex // guards keys
	keys  map[string]ssh.Signer
	locks map[string]ssh.PublicKey // of the files with a passphrase that nobody has given; nil where it is not known
}

// load returns the key of a file. A nil signer has a reason: what is said of the file where all keys were refused.
func (k *keyring) load(file string) (s ssh.Signer, reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.keys[file]; s != nil {
		return s, ""
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ""
	}
	if err != nil {
		return nil, fmt.Sprintf("%s (not read: %v)", file, rootCause(err))
	}
	s, err = ssh.ParsePrivateKey(data)
	if missing, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		k.locks[file] = missing.PublicKey
		return nil, file + " (not tried: it has a passphrase; add it to the agent)"
	}
	if err != nil {
		return nil, file + " (not tried: it is no private key)"
	}
	k.keys[file] = s
	return s, ""
}

// unlock reads the key of a file that has a passphrase.
func (k *keyring) unlock(file string, passphrase []byte) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s, err := ssh.ParsePrivateKeyWithPassphrase(data, passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[file] = s
	delete(k.locks, file)
	return nil
}

// locked returns the files of keys that have a passphrase which nobody has given, but for those that one of these holds.
func (k *keyring) locked(held map[string]bool) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	files := make([]string, 0, len(k.locks))
	for f, public := range k.locks {
		if public == nil || !held[string(public.Marshal())] {
			files = append(files, f)
		}
	}
	sort.Strings(files)
	return files
}

// heldBy returns the public keys that an agent has, as they are on the wire.
func heldBy(socket string) map[string]bool {
	held := map[string]bool{}
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return held
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	list, _ := agent.NewClient(conn).List()
	for _, key := range list {
		held[string(key.Marshal())] = true
	}
	return held
}

// credentials is what one connection shows of the gateway's keys. close lets go of the agent.
type credentials struct {
	agent net.Conn // nil: there is none

	mu    sync.Mutex // guards tried
	tried []string
}

// offeredKey is a key that is noted down when it is offered: the library asks for its public half first.
type offeredKey struct {
	ssh.AlgorithmSigner
	name string
	to   *credentials
	once *sync.Once
}

func (o offeredKey) PublicKey() ssh.PublicKey {
	o.once.Do(func() { o.to.note(o.name) })
	return o.AlgorithmSigner.PublicKey()
}

func (c *credentials) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried = append(c.tried, what)
}

// list is what was tried, for a person.
func (c *credentials) list() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tried) == 0 {
		return "there is no key to offer: name one with IdentityFile, or add one to the agent"
	}
	return "tried " + strings.Join(c.tried, ", ")
}

func (c *credentials) close() {
	if c.agent != nil {
		_ = c.agent.Close()
	}
}

// namedKey is a key and what a person knows it by.
type namedKey struct {
	ssh.Signer
	name string
}

// signers collects the keys for a target in the order of OpenSSH: certificates, keys of the agent, keys of files.
func (k *keyring) signers(s *settings, c *credentials) []ssh.Signer {
	files := k.fromFiles(s, c)
	var all []namedKey
	if c.agent != nil {
		held, err := agent.NewClient(c.agent).Signers()
		if err != nil {
			c.note(fmt.Sprintf("agent (%v)", rootCause(err)))
		}
		for _, key := range held {
			if !s.identitiesOnly || holds(files, key.PublicKey()) {
				all = append(all, namedKey{key, "agent " + ssh.FingerprintSHA256(key.PublicKey())})
			}
		}
	}
	all = append(all, files...)
	all = append(certified(s, c, all), all...)
	seen := map[string]bool{}
	offered := make([]ssh.Signer, 0, len(all))
	for _, key := range all {
		if blob := string(key.PublicKey().Marshal()); !seen[blob] {
			seen[blob] = true
			offered = append(offered, c.watched(key))
		}
	}
	return offered
}

// watched notes a key down when it is offered.
func (c *credentials) watched(key namedKey) ssh.Signer {
	if signer, ok := key.Signer.(ssh.AlgorithmSigner); ok {
		return offeredKey{AlgorithmSigner: signer, name: key.name, to: c, once: new(sync.Once)}
	}
	c.note(key.name)
	return key.Signer
}

// fromFiles returns the keys of a target's identity files.
func (k *keyring) fromFiles(s *settings, c *credentials) (keys []namedKey) {
	for _, file := range s.identityFiles {
		key, reason := k.load(file)
		if reason != "" {
			c.note(reason)
		}
		if key != nil {
			keys = append(keys, namedKey{key, file})
		}
	}
	return keys
}

// certified returns the certificates of a target whose keys are among these.
func certified(s *settings, c *credentials, keys []namedKey) (certs []namedKey) {
	files := append([]string{}, s.certificateFiles...)
	for _, f := range s.identityFiles {
		files = append(files, f+"-cert.pub")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		public, _, _, _, err := ssh.ParseAuthorizedKey(data)
		cert, ok := public.(*ssh.Certificate)
		if err != nil || !ok {
			c.note(file + " (not tried: it is no certificate)")
			continue
		}
		for _, key := range keys {
			if !sameKey(key.PublicKey(), cert.Key) {
				continue
			}
			if signer, err := ssh.NewCertSigner(cert, key.Signer); err == nil {
				certs = append(certs, namedKey{signer, file})
			}
			break
		}
	}
	return certs
}

func holds(keys []namedKey, key ssh.PublicKey) bool {
	for _, s := range keys {
		if sameKey(s.PublicKey(), key) {
			return true
		}
	}
	return false
}
