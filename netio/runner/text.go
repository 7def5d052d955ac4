package runner

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// asText splits bytes into the two members that carry them in JSON: the string, or base64. Exactly one is not nil.
func asText(b string) (text, encoded *string) {
	if plainJSON(b) {
		return &b, nil
	}
	e := base64.StdEncoding.EncodeToString([]byte(b))
	return nil, &e
}

// asTextOrNothing is asText with both nil where b is empty.
func asTextOrNothing(b string) (text, encoded *string) {
	if b == "" {
		return nil, nil
	}
	return asText(b)
}

// plainJSON reports whether b is UTF-8 and, as a JSON string, no longer than its base64.
func plainJSON(b string) bool {
	if !utf8.ValidString(b) {
		return false
	}
	extra := 0 // bytes that the escapes add
	for i := range len(b) {
		switch c := b[i]; {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			extra++
		case c < ' ':
			extra += len(`\u0000`) - 1
		}
	}
	return extra <= len(b)/3 || extra <= 64
}

// fromText is the inverse of asText.
func fromText(member string, text, encoded *string) (string, error) {
	switch {
	case text != nil && encoded != nil:
		return "", fmt.Errorf("both %s and %s_base64 are given", member, member)
	case text != nil:
		return *text, nil
	case encoded != nil:
		b, err := base64.StdEncoding.DecodeString(*encoded)
		if err != nil {
			return "", fmt.Errorf("%s_base64: %w", member, err)
		}
		return string(b), nil
	}
	return "", nil
}

// asTexts is asTextOrNothing for a list.
func asTexts(list []string) (texts, encoded []string) {
	for _, s := range list {
		if !plainJSON(s) {
			encoded = make([]string, len(list))
			for i, s := range list {
				encoded[i] = base64.StdEncoding.EncodeToString([]byte(s))
			}
			return nil, encoded
		}
	}
	return list, nil
}

// fromTexts is the inverse of asTexts.
func fromTexts(member string, texts, encoded []string) ([]string, error) {
	if len(texts) > 0 && len(encoded) > 0 {
		return nil, fmt.Errorf("both %s and %s_base64 are given", member, member)
	}
	if len(encoded) == 0 {
		return texts, nil
	}
	list := make([]string, len(encoded))
	for i, e := range encoded {
		b, err := base64.StdEncoding.DecodeString(e)
		if err != nil {
			return nil, fmt.Errorf("%s_base64: %w", member, err)
		}
		list[i] = string(b)
	}
	return list, nil
}

// oneLine makes text safe to print as one line: bytes that are not UTF-8 are replaced, line ends and other control
// characters become blanks.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd")))
}

// ShellJoin joins program and arguments to a command line that a POSIX shell splits into the same words. A word of harmless
// characters stays as it is; any other is put into single quotes.
func ShellJoin(argv []string) string {
	var b strings.Builder
	for i, word := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		// A first word with = would be an assignment, so it is quoted.
		if word != "" && strings.IndexFunc(word, needsQuotes) < 0 && (i > 0 || !strings.Contains(word, "=")) {
			b.WriteString(word)
			continue
		}
		b.WriteByte('\'')
		b.WriteString(strings.ReplaceAll(word, "'", `'\''`))
		b.WriteByte('\'')
	}
	return b.String()
}

func needsQuotes(r rune) bool { return r >= utf8.RuneSelf || !harmless(byte(r)) }

// harmless reports whether a character means nothing to a shell inside a word.
func harmless(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("%+,-./:=@_", c) >= 0
}
