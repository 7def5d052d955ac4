package execrun

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"shoal/netio/runner"
)

// launch is a program that is about to be started. Its files are the child's side; the outputs own the other.
type launch struct {
	path  string // of the program
	argv  []string
	env   []string
	dir   string
	files [3]*os.File // standard input, output and error
}

// shell runs command lines.
const shell = "/bin/sh"

// passedOn are the variables of the gateway that a program gets.
var passedOn = []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"}

// defaultPath is the PATH of a program where the gateway has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// prepare finds out what to start.
func (r *Runner) prepare(req *runner.Request) (*launch, runner.Reason, error) {
	l := &launch{argv: req.Argv, dir: req.Dir, env: environment(req)}
	if req.Shell {
		l.argv = []string{shell, "-c", req.Command}
	}
	if l.dir != "" {
		switch info, err := os.Stat(l.dir); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, runner.ReasonNotFound, fmt.Errorf("folder %s: there is none", l.dir)
		case err != nil:
			return nil, startReason(err), err
		case !info.IsDir():
			return nil, runner.ReasonNotFound, fmt.Errorf("%s is not a folder", l.dir)
		}
	}
	var err error
	if l.path, err = findProgram(l.argv[0], lookup(l.env, "PATH")); err != nil {
		return nil, runner.ReasonNotFound, err
	}
	return l, "", nil
}

// environment returns that of a program; of a name that is there twice the last counts.
func environment(req *runner.Request) []string {
	env := make([]string, 0, len(passedOn)+len(req.Env)+1)
	for _, name := range passedOn {
		value, ok := os.LookupEnv(name)
		if name == "PATH" && value == "" {
			value, ok = defaultPath, true
		}
		if ok {
			env = append(env, name+"="+value)
		}
	}
	env = append(append(env, "SHOAL_TARGET="+req.Target), req.Env...)
	last := make(map[string]int, len(env))
	for i, e := range env {
		last[e[:strings.IndexByte(e, '=')]] = i
	}
	kept := env[:0]
	for i, e := range env {
		if last[e[:strings.IndexByte(e, '=')]] == i {
			kept = append(kept, e)
		}
	}
	return kept
}

func lookup(env []string, name string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// findProgram looks a program up. A name with a slash is a path, from the folder of the command; folders of PATH that are
// not absolute are left out.
func findProgram(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("no program %q in PATH", name)
}

// startReason classifies an error of the start.
func startReason(err error) runner.Reason {
	for _, local := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ETXTBSY} {
		if errors.Is(err, local) {
			return runner.ReasonLocal
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return runner.ReasonNotFound
	}
	return runner.ReasonFailed
}

// startError says what a person wants to know.
func startError(l *launch, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such program, or the interpreter that it names is missing", l.path)
	case errors.Is(err, syscall.E2BIG):
		return errors.New("arguments and environment are longer than the system takes")
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s: neither a program of this system nor a script that begins with #! and an interpreter", l.path)
	}
	return fmt.Errorf("%s: %w", l.path, err)
}
