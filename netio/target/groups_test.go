package target

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

const groupsText = `
# as ClusterShell's local.cfg has it
adm: example0
storage: example[4-6]
racks: @rack[1-3]!web07   # a group of groups
rack1: web[01-10]
rack2: web[11-20],DB1
rack3: 10.0.0.0/30
rack3: 2001:db8::7
none:
`

func TestGroups(t *testing.T) {
	groups, err := ParseGroups("groups", strings.NewReader(groupsText))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"@adm":                    "example0",
		"@storage,example7":       "example[4-7]",
		"@racks":                  "db1,web[01-06,08-20],10.0.0.[0-3],2001:db8::7",
		"@rack[1-2]":              "db1,web[01-20]",
		"@racks!@rack1":           "db1,web[11-20],10.0.0.[0-3],2001:db8::7",
		"@none":                   "",
		"@*!@rack3":               "db1,example[0,4-6],web[01-20]",
		"web*":                    "web[01-20]",
		"web?7":                   "web[07,17]",
		"web[0-1]*&@rack2":        "web[11-19]",
		"*&@rack3":                "10.0.0.[0-3],2001:db8::7",
		"DB*":                     "db1",
		"nothing*":                "",
		"@rack1!web0?,localhost":  "localhost,web10",
		"@rack[1-3]&10.0.0.0/8":   "10.0.0.[0-3]",
		"@storage & example[5-9]": "example[5-6]",
	} {
		s, err := (&Parser{Groups: groups}).Parse(text)
		if err != nil || s.String() != want {
			t.Errorf("%q: %q, %v, want %q", text, s, err, want)
		}
	}
	for text, kind := range map[string]error{
		"@nobody":       ErrUnknownGroup,
		"@rack[1-4]":    ErrUnknownGroup,
		"@":             ErrSyntax,
		"@rack[1":       ErrSyntax,
		"@rack[1-9999]": ErrTooLarge,
		"w[1-9999]*":    ErrTooLarge,
	} {
		if _, err := (&Parser{Groups: groups}).Parse(text); !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v", text, err, kind)
		}
	}
	if got := strings.Join(groups.Names(), " "); got != "adm none rack1 rack2 rack3 racks storage" {
		t.Errorf("groups %s", got)
	}
}

func TestBadGroupsFile(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\nc d":                 `groups:2: "c d", character 1: write a group as name: nodes`,
		"\n\na: web[1":              `groups:3: "a: web[1", character 7: this [ is not closed`,
		"a: @b\nb: x,@c\nc: @a":     `groups:3: "c: @a", character 4: group @a is part of itself`,
		"a: @a":                     `group @a is part of itself`,
		"a: x\nb: y,@d":             `groups:2: "b: y,@d", character 6: there is no group @d in groups`,
		"a: @*":                     `groups:1: "a: @*", character 4: @* stands for all groups`,
		"a: x*":                     `stands for all groups`,
		"a: -":                      `standard input cannot be read`,
		"a[1-2]: x":                 `"a[1-2]" is no name of a group`,
		strings.Repeat("x", 2e6):    `groups:1: a line of more than`,
		"a: b\n" + "c: 10.0.0.0/40": `groups:2: "c: 10.0.0.0/40", character 13: "40" is no length`,
	} {
		_, err := ParseGroups("groups", strings.NewReader(text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

func TestHostFile(t *testing.T) {
	const hosts = "web01 web02\n\n  # a comment\nWEB03 # another\nweb[04-09]!web05\n10.0.0.0/30, [2001:db8::1]\r\n"
	var p Parser
	s, err := p.ReadHosts("hosts", strings.NewReader(hosts))
	if want := "web[01-04,06-09],10.0.0.[0-3],2001:db8::1"; err != nil || s.String() != want {
		t.Errorf("%q, %v, want %q", s, err, want)
	}
	_, err = p.ReadHosts("hosts", strings.NewReader("web01\nweb[02\n"))
	if want := `hosts:2: "web[02", character 4: this [`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	broken := errors.New("broken")
	if _, err = p.ReadHosts("hosts", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}

func TestStandardInput(t *testing.T) {
	p := Parser{Stdin: strings.NewReader("b\nc\n")}
	s, err := p.Parse("-,a")
	if err != nil || s.String() != "a,b,c" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := p.Parse("-"); !errors.Is(err, ErrSyntax) {
		t.Errorf("a second time: %v", err)
	}
	p = Parser{Stdin: strings.NewReader("b\nc\n-")}
	if _, err := p.Parse("-"); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "standard input:3:") {
		t.Errorf("standard input within itself: %v", err)
	}
}

func TestManyHostsAreRead(t *testing.T) {
	var b strings.Builder
	for i := range 50_000 {
		b.WriteString("host-")
		for k := range 6 {
			b.WriteByte("0123456789"[i*7919/[]int{100000, 10000, 1000, 100, 10, 1}[k]%10])
		}
		b.WriteByte('\n')
	}
	s, err := new(Parser).ReadHosts("hosts", strings.NewReader(b.String()))
	if err != nil || s.Len() == 0 || s.Len() > 50_000 || !s.Contains("host-007919") {
		t.Errorf("%d hosts, %v", s.Len(), err)
	}
}
