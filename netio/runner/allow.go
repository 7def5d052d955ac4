package runner

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Patterns say which commands a gateway allows, and on which targets. A request is allowed when one of them matches all of
// it. The zero Patterns allow nothing.
//
// A pattern for commands is matched with Request.CommandText:
//
//   - ** stands for anything at all;
//   - * stands for letters, digits, blanks and the characters %+,-./:=@_^ and those beyond ASCII: nothing by which a shell
//     would begin another command, read a variable or expand a name;
//   - every other character stands for itself.
//
// So 'systemctl status *' allows "systemctl status ssh", and not "systemctl status ssh; reboot". A request for a shell
// (Request.Shell) is allowed by the same patterns as its command line is.
//
// With targets, a pattern is a pattern for the target, a blank, and a pattern for the command. In a target * and ** stand for
// any characters but the @ after a user and the colon before a port, and capital letters are as small ones. A target is
// matched as the request has it, so 'web* uptime' allows web07 and web07.example.org, and neither root@web07 nor web07:2222.
type Patterns struct {
	rules []rule
}

type rule struct{ target, command string }

// ParsePatterns reads patterns for commands, or with targets for targets and commands.
func ParsePatterns(patterns []string, targets bool) (*Patterns, error) {
	p := new(Patterns)
	for _, text := range patterns {
		r := rule{command: strings.TrimSpace(text)}
		if targets {
			r.target, r.command, _ = strings.Cut(r.command, " ")
			r.target, r.command = strings.ToLower(r.target), strings.TrimSpace(r.command)
			if r.command == "" {
				return nil, fmt.Errorf("pattern %q: it has to be a target, a blank and a command, such as 'web* uptime' or 'web* **'", text)
			}
		}
		if r.command == "" {
			return nil, fmt.Errorf("pattern %q is empty; ** allows any command", text)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

// Allow reports whether the request is allowed.
func (p *Patterns) Allow(req *Request) bool {
	command, target := req.CommandText(), strings.ToLower(req.Target)
	for _, r := range p.rules {
		if (r.target == "" || matchTarget(r.target, target)) && match(r.command, command, quiet) {
			return true
		}
	}
	return false
}

// matchTarget holds the user and the port of a target against those of the pattern.
func matchTarget(pattern, target string) bool {
	if strings.Contains(target, "@") && !strings.Contains(pattern, "@") {
		return false
	}
	return match(pattern, target, func(c byte) bool { return c != '@' && (c != ':' || strings.Count(target, ":") > 1) })
}

// quiet reports whether * stands for this character of a command.
func quiet(c byte) bool { return c == ' ' || c == '^' || c >= utf8.RuneSelf || harmless(c) }

// match matches the whole of text; star tells what * stands for. Its time is at most the product of both lengths.
func match(pattern, text string, star func(byte) bool) bool {
	// reached[i] is whether the pattern so far matches text[:i].
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for len(pattern) > 0 {
		any := strings.HasPrefix(pattern, "**")
		if !any && pattern[0] != '*' {
			for i := len(text); i > 0; i-- {
				reached[i] = reached[i-1] && text[i-1] == pattern[0]
			}
			reached[0] = false
			pattern = pattern[1:]
			continue
		}
		for i := range len(text) {
			if reached[i] && (any || star(text[i])) {
				reached[i+1] = true
			}
		}
		pattern = strings.TrimPrefix(pattern[1:], "*")
	}
	return reached[len(text)]
}
