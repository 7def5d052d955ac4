package trust

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"shoal/netio"
	"shoal/netio/runner"
	"shoal/netio/wildcard"
)

// Rights says what each identity may do: what is not allowed is refused. It does not change.
type Rights struct {
	file   string
	rules  []*rule
	grants map[string][]*rule // by identity, of those that a rule or a group names
	others []*rule            // those for *
}

// rule is one [[allow]] table.
type rule struct {
	Who    []string `toml:"who"`
	Call   []string `toml:"call"`
	Shapes []string `toml:"shapes"`
	SSH    []string `toml:"ssh"`
	Exec   []string `toml:"exec"`
	Files  string   `toml:"files"`
	Admin  []string `toml:"admin"`

	line      int // of its [[allow]]
	names     []string
	shapes    []netio.Shape // nil: all
	ssh, exec *runner.Patterns
}

// form is the file.
type form struct {
	Groups map[string][]string `toml:"groups"`
	Allow  []*rule             `toml:"allow"`
}

// ErrBadRights says that a file of rights cannot be used. Nothing of it is.
var ErrBadRights = errors.New("bad rights")

// ExampleRights is a file to begin with.
const ExampleRights = `[groups]
operators = ["alice"]

[[allow]]
who = ["@operators"]
ssh = ["web* uptime"]        # shoal client exec: TARGET COMMAND; * is a word or less, ** anything
call = ["square", "table*"]  # subroutines
files = "read"
`

// ReadRights reads a file of rights: see ParseRights.
func ReadRights(path string) (*Rights, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseRights(path, string(data))
}

// ParseRights reads the text of a file of rights, TOML, and checks all of it:
//
//	[groups]                      # names for several identities
//	operators = ["alice", "bob"]
//
//	[[allow]]                     # any number; each allows what it says, and nothing forbids
//	who    = ["carol", "@operators"]  # "*": everybody who has an identity
//	call   = ["square", "table*"] # subroutines, of any shape: * stands for anything in a name, ? for one byte
//	shapes = ["call", "stream"]   # of these shapes alone: call, stream, send, duplex
//	ssh    = ["web* uptime"]      # targets and commands, patterns as package runner's
//	exec   = ["df *"]             # commands beside the gateway, the same
//	files  = "read"               # or "write", which includes it: the folder that the gateway offers
//	admin  = ["stats", "stop"]
//
// The subroutines of the runners ssh and exec and of files are allowed by ssh, exec and files, not by call.
func ParseRights(name, text string) (*Rights, error) {
	var f form
	meta, err := toml.Decode(text, &f)
	if err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("%w: %s:%d: %s", ErrBadRights, name, at.Position.Line, at.Message)
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrBadRights, name, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%w: %s: %q is not known here", ErrBadRights, name, unknown[0].String())
	}
	r := &Rights{file: name, rules: f.Allow, grants: map[string][]*rule{}}
	for group, members := range f.Groups {
		for _, m := range members {
			if err := CheckName(m); err != nil {
				return nil, fmt.Errorf("%w: %s: group %s: %w", ErrBadRights, name, group, err)
			}
		}
	}
	lines := headerLines(text)
	for i, rule := range f.Allow {
		if i < len(lines) {
			rule.line = lines[i]
		}
		if err := rule.check(f.Groups); err != nil {
			return nil, fmt.Errorf("%w: %s:%d: %w", ErrBadRights, name, rule.line, err)
		}
		for _, who := range rule.names {
			if who == "*" {
				r.others = append(r.others, rule)
			}
		}
	}
	for _, rule := range f.Allow { // a named identity also has what everybody has
		for _, who := range rule.names {
			if who != "*" && r.grants[who] == nil {
				r.grants[who] = r.of(who)
			}
		}
	}
	return r, nil
}

// of returns the rules for an identity, in the order of the file.
func (r *Rights) of(who string) (rules []*rule) {
	for _, rule := range r.rules {
		if slices.Contains(rule.names, who) || slices.Contains(rule.names, "*") {
			rules = append(rules, rule)
		}
	}
	return rules
}

// headerLines returns the lines of a text that begin an [[allow]].
func headerLines(text string) (at []int) {
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.ReplaceAll(strings.TrimSpace(line), " ", "") == "[[allow]]" {
			at = append(at, i+1)
		}
	}
	return at
}

// check says what is wrong with a rule, and makes it ready for use.
func (u *rule) check(groups map[string][]string) (err error) {
	if len(u.Who) == 0 {
		return errors.New("who is missing: name identities, @groups, or * for everybody")
	}
	for _, who := range u.Who {
		group, isGroup := strings.CutPrefix(who, "@")
		members, known := groups[group]
		switch {
		case isGroup && !known:
			return fmt.Errorf("there is no group %q", group)
		case isGroup:
			u.names = append(u.names, members...)
		case who == "*":
			u.names = append(u.names, who)
		default:
			if err := CheckName(who); err != nil {
				return err
			}
			u.names = append(u.names, who)
		}
	}
	for _, name := range u.Shapes {
		shape, ok := map[string]netio.Shape{"call": netio.ShapeCall, "stream": netio.ShapeStream, "send": netio.ShapeSend, "duplex": netio.ShapeDuplex}[name]
		if !ok {
			return fmt.Errorf("shape %q: it has to be call, stream, send or duplex", name)
		}
		u.shapes = append(u.shapes, shape)
	}
	if len(u.Shapes) > 0 && len(u.Call) == 0 {
		return errors.New("shapes says nothing without call")
	}
	if u.Files != "" && u.Files != "read" && u.Files != "write" {
		return fmt.Errorf("files is %q: it has to be read or write", u.Files)
	}
	for _, what := range u.Admin {
		if what != "stats" && what != "stop" {
			return fmt.Errorf("admin has %q: it has to be stats or stop", what)
		}
	}
	if u.ssh, err = runner.ParsePatterns(u.SSH, true); err != nil {
		return fmt.Errorf("ssh: %w", err)
	}
	if u.exec, err = runner.ParsePatterns(u.Exec, false); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	return nil
}

// Allow says whether an identity may use a subroutine. It allocates nothing.
func (r *Rights) Allow(identity, subroutine string, shape netio.Shape) bool {
	return r.deciding(identity, subroutine, shape) != nil
}

func (r *Rights) deciding(identity, subroutine string, shape netio.Shape) *rule {
	rules, named := r.grants[identity]
	if !named {
		rules = r.others
	}
	for _, u := range rules {
		if u.allows(subroutine, shape) {
			return u
		}
	}
	return nil
}

// allows reports whether the rule allows a subroutine.
func (u *rule) allows(name string, shape netio.Shape) bool {
	if what, ok := strings.CutPrefix(name, "shoal."); ok {
		switch what {
		case "list":
			return true // of who may do anything at all
		case "stats", "stop":
			return slices.Contains(u.Admin, what)
		case "files.list", "files.get":
			return u.Files != ""
		}
		return strings.HasPrefix(what, "files.") && u.Files == "write"
	}
	switch strings.TrimSuffix(name, runner.LiveSuffix) {
	case "ssh":
		return len(u.SSH) > 0 // a Guard looks at what is to be run
	case "exec":
		return len(u.Exec) > 0
	}
	if u.shapes != nil && !slices.Contains(u.shapes, shape) {
		return false
	}
	for _, pattern := range u.Call {
		if wildcard.Match(pattern, name) {
			return true
		}
	}
	return false
}

// AllowRun says whether an identity may run a request with the runner ssh or exec.
func (r *Rights) AllowRun(identity, via string, req *runner.Request) bool {
	return r.decidingRun(identity, via, req) != nil
}

func (r *Rights) decidingRun(identity, via string, req *runner.Request) *rule {
	rules, named := r.grants[identity]
	if !named {
		rules = r.others
	}
	for _, u := range rules {
		if via == "ssh" && u.ssh.Allow(req) || via == "exec" && u.exec.Allow(req) {
			return u
		}
	}
	return nil
}

// Explain says which rule lets an identity use a subroutine, or that none does.
func (r *Rights) Explain(identity, subroutine string, shape netio.Shape) (allowed bool, why string) {
	return r.explain(identity, fmt.Sprintf("the %v %s", shape, subroutine), r.deciding(identity, subroutine, shape))
}

// ExplainRun says which rule lets an identity run a request with the runner ssh or exec, or that none does.
func (r *Rights) ExplainRun(identity, via string, req *runner.Request) (allowed bool, why string) {
	what := fmt.Sprintf("%q beside the gateway", req.CommandText())
	if via == "ssh" {
		what = fmt.Sprintf("%q on %s", req.CommandText(), req.Target)
	}
	return r.explain(identity, what, r.decidingRun(identity, via, req))
}

func (r *Rights) explain(identity, what string, u *rule) (bool, string) {
	if u == nil {
		return false, fmt.Sprintf("%s may not use %s: no rule of %s allows it", identity, what, r.file)
	}
	return true, fmt.Sprintf("%s may use %s: %s:%d allows it", identity, what, r.file, u.line)
}

// lost reports whether an identity may do something by old that it may not do by r.
func (r *Rights) lost(old *Rights, identity string) bool {
	for _, before := range old.of(identity) {
		if !slices.ContainsFunc(r.of(identity), before.within) {
			return true
		}
	}
	return false
}

// within reports whether another rule has everything that this one has, in so many words.
func (u *rule) within(other *rule) bool {
	all := func(mine, theirs []string) bool {
		return !slices.ContainsFunc(mine, func(s string) bool { return !slices.Contains(theirs, s) })
	}
	shapes := len(other.Shapes) == 0 || len(u.Shapes) > 0 && all(u.Shapes, other.Shapes)
	return shapes && all(u.Call, other.Call) && all(u.SSH, other.SSH) && all(u.Exec, other.Exec) && all(u.Admin, other.Admin) &&
		(u.Files == "" || u.Files == other.Files || other.Files == "write")
}
