package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builds are the programs of this revision and of an earlier one.
type builds struct {
	dir         string // temporary
	root        string // of this revision's source
	now, before string // the revisions, for the reader

	nowBench    string // the test binary of shoal's benchmarks
	beforeRoot  string
	beforeBench string
	ran         map[string]benchRun
	beforePeers string // this program, of the earlier revision: its child processes take the same orders
}

// beforeFamily is that of the earlier revision's peers.
const beforeFamily = "before"

// buildRevisions builds what the parts need.
func buildRevisions(o figuresOptions) (b *builds, err error) {
	b = &builds{}
	if b.dir, err = os.MkdirTemp("", "shoal-figures-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if b.root, err = output(".", "git", "rev-parse", "--show-toplevel"); err != nil {
		return nil, err
	}
	if b.now, err = output(".", "git", "describe", "--always", "--dirty"); err != nil {
		return nil, err
	}
	benches := o.has(partFiles) || o.has(partGateway)
	if benches {
		b.nowBench = filepath.Join(b.dir, "now.test")
		if _, err = output(b.root, "go", "test", "-c", "-o", b.nowBench, "./bench"); err != nil {
			return nil, err
		}
	}
	if o.before == "" {
		return b, nil
	}
	if b.before, err = output(b.root, "git", "describe", "--always", o.before); err != nil {
		return nil, err
	}
	if err = b.unpack(o.before); err != nil {
		return nil, err
	}
	if o.has(partRates) {
		b.beforePeers = filepath.Join(b.dir, "before-peers")
		if _, err = output(filepath.Join(b.beforeRoot, "bench", "peers"), "go", "build", "-o", b.beforePeers, "."); err != nil {
			return nil, err
		}
	}
	if o.has(partGateway) {
		b.beforeBench = filepath.Join(b.dir, "before.test")
		_, err = output(b.beforeRoot, "go", "test", "-c", "-o", b.beforeBench, "./bench")
	}
	return b, err
}

// unpack writes the source of a revision into a folder of its own.
func (b *builds) unpack(revision string) error {
	archive := filepath.Join(b.dir, "before.tar")
	b.beforeRoot = filepath.Join(b.dir, "before")
	if err := os.Mkdir(b.beforeRoot, 0o755); err != nil {
		return err
	}
	if _, err := output(b.root, "git", "archive", "-o", archive, revision); err != nil {
		return err
	}
	_, err := output(b.beforeRoot, "tar", "-xf", archive)
	return err
}

func (b *builds) remove() { _ = os.RemoveAll(b.dir) }

// peers returns those of the earlier revision.
func (b *builds) peers() (earlier []peer) {
	if b.beforePeers == "" {
		return nil
	}
	for _, p := range peers {
		if p.family() != shoalFamily || p.name == "shoal-user" {
			continue
		}
		p.program, p.role = b.beforePeers, p.name
		p.name = beforeFamily + strings.TrimPrefix(p.name, shoalFamily)
		earlier = append(earlier, p)
	}
	return earlier
}

// output runs a command in a folder and returns what it prints.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var failed strings.Builder
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, failed.String())
	}
	return strings.TrimSpace(string(out)), nil
}
