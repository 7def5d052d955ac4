package files

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// Limits of names. A system may have lower ones; then it is the system that refuses.
const (
	maxPath    = 4096
	maxElement = 255
)

// Names that a file has before it is whole begin and end like this. Such a file is never listed and never written to
// under that name by a peer.
const (
	tempPrefix = ".shoal-"
	tempSuffix = ".part"
)

// checkPath refuses what must not reach the file system: it has to be a path below the root, elements separated by
// single slashes, none of them ".." or one of our temporary names. "." is the root itself.
func checkPath(p string) error {
	switch {
	case p == "":
		return refuse(CodeName, p, "empty name")
	case len(p) > maxPath:
		return refuse(CodeName, p[:64]+"…", fmt.Sprintf("name of %d bytes, the limit is %d", len(p), maxPath))
	case strings.IndexByte(p, 0) >= 0:
		return refuse(CodeName, p, "name with a NUL byte")
	case p[0] == '/':
		return refuse(CodeName, p, "absolute name")
	case p == ".":
		return nil
	}
	for element := range strings.SplitSeq(p, "/") {
		switch {
		case element == "" || element == ".":
			return refuse(CodeName, p, "name with an empty element")
		case element == "..":
			return refuse(CodeName, p, "name with an element ..")
		case len(element) > maxElement:
			return refuse(CodeName, p, fmt.Sprintf("name with an element of %d bytes, the limit is %d", len(element), maxElement))
		case isTemp(element):
			return refuse(CodeName, p, "name of a temporary file")
		}
	}
	return nil
}

// checkLink refuses the target of a symbolic link at p that is absolute or leads out of the root.
func checkLink(p, target string) error {
	switch {
	case target == "" || len(target) > maxPath || strings.IndexByte(target, 0) >= 0:
		return refuse(CodeName, p, "symbolic link with a target that is no name")
	case target[0] == '/':
		return refuse(CodeOutside, p, "symbolic link to an absolute name")
	}
	depth, down := strings.Count(p, "/"), false
	for element := range strings.SplitSeq(target, "/") {
		switch element {
		case "", ".":
		case "..":
			if depth--; depth < 0 || down { // after a name: that may be a link itself, which leads up
				return refuse(CodeOutside, p, "symbolic link that leads out of the root")
			}
		default:
			depth, down = depth+1, true
		}
	}
	return nil
}

func isTemp(element string) bool {
	return strings.HasPrefix(element, tempPrefix) && strings.HasSuffix(element, tempSuffix)
}

// newTemp returns a temporary name that nobody else has.
func newTemp() string { return tempName(rand.Uint64()) }

// partialName returns the temporary name under which a large file is written, the same whenever the same file is
// transferred to the same name.
func partialName(name string, size, modified int64) string {
	return tempName(xxh3.HashString(name + "\x00" + strconv.FormatInt(size, 16) + "\x00" + strconv.FormatInt(modified, 16)))
}

func tempName(n uint64) string {
	const digits = 16
	hex := strconv.FormatUint(n, 16)
	return tempPrefix + "0000000000000000"[:digits-len(hex)] + hex + tempSuffix
}

// split returns the folder and the last element of a path; the folder of a path without a slash is ".".
func split(p string) (dir, base string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return ".", p
}

// join is path.Join for paths that are clean.
func join(dir, base string) string {
	switch {
	case dir == ".":
		return base
	case base == ".":
		return dir
	}
	return dir + "/" + base
}

// clean makes a path of what a person typed; false: it names nothing below the root.
func clean(p string) (cleaned string, contents, ok bool) {
	contents = strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || p == "."
	cleaned = path.Clean(strings.TrimPrefix(p, "./"))
	return cleaned, contents, p != "" && cleaned[0] != '/' && cleaned != ".." && !strings.HasPrefix(cleaned, "../")
}
