package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files of a folder.
const (
	fileCA      = "ca.pem"
	fileCAKey   = "ca.key"
	fileRevoked = "revoked"
	filePins    = "pins"
	fileTokens  = "tokens"
	fileUsers   = "users"
	fileKnown   = "known_gateways"
	gatewayName = "gateway"
)

// DefaultFolder is where the files are when nothing else is said: shoal in the user's folder for configuration.
func DefaultFolder() (string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for trust: %w", err)
	}
	return filepath.Join(config, "shoal"), nil
}

// Errors of a folder.
var (
	// ErrNoFolder says that there is no CA in the folder yet.
	ErrNoFolder = errors.New("no ca.pem: make one with 'shoal cert init'")
	// ErrBadName says that an identity cannot have this name.
	ErrBadName = errors.New("bad name: letters, digits, and . _ - @ after the first, at most 64")
	// ErrExists says that a file is there already.
	ErrExists = errors.New("is there already")
)

// CheckName says whether an identity can have this name. It names files, so it is short and plain. The names ca and gateway are
// the folder's own.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 64 && name != "ca" && name != gatewayName
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && strings.IndexByte("._-@", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("%w: %q", ErrBadName, name)
	}
	return nil
}

// writeNew writes a file that must not be there.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// replace writes a file so that nobody sees half of it.
func replace(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// appendLine adds a line to a file.
func appendLine(path, line string, mode fs.FileMode) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		old = append(old, '\n')
	}
	return replace(path, append(old, line+"\n"...), mode)
}

// readLines reads a file of lines of so many words, with # before a remark; a file that is not there has none.
func readLines(path string, words int, each func(words []string) error) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != words {
			return fmt.Errorf("%s:%d: %d words, %d expected", path, i+1, len(fields), words)
		}
		if err := each(fields); err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return nil
}
