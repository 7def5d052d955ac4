package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path"
	"slices"
	"strings"
	"testing"

	"shoal/netio"
	"shoal/netio/runner"
)

func signerOf(key *ecdsa.PrivateKey, err error) (crypto.Signer, error) { return key, err }

func encodeAny(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func serial(t testing.TB) *big.Int {
	return must[*big.Int](t)(rand.Int(rand.Reader, big.NewInt(1<<62)))
}

const someRights = `
[groups]
ops = ["alice", "bob"]

[[allow]] # line 5
who = ["@ops"]
ssh = ["web* uptime", "web* df *"]
call = ["square", "table*"]
files = "read"

[[allow]] # line 11
who = ["carol"]
call = ["*"]
shapes = ["stream"]
admin = ["stop"]
exec = ["uptime"]
files = "write"
`

func TestRights(t *testing.T) {
	r := must[*Rights](t)(ParseRights("rights.toml", someRights))
	for _, c := range []struct {
		who, name string
		shape     netio.Shape
		want      bool
	}{
		{"alice", "square", netio.ShapeCall, true}, {"bob", "table2", netio.ShapeStream, true}, {"alice", "squares", netio.ShapeCall, false},
		{"alice", "shoal.list", netio.ShapeCall, true}, {"alice", "shoal.stop", netio.ShapeCall, false}, {"carol", "shoal.stop", netio.ShapeCall, true},
		{"alice", "shoal.files.get", netio.ShapeStream, true}, {"alice", "shoal.files.put", netio.ShapeDuplex, false},
		{"carol", "shoal.files.put", netio.ShapeDuplex, true}, {"carol", "feed", netio.ShapeStream, true}, {"carol", "feed", netio.ShapeCall, false},
		{"alice", "ssh", netio.ShapeCall, true}, {"alice", "ssh.live", netio.ShapeStream, true}, {"carol", "ssh", netio.ShapeCall, false},
		{"carol", "ssh.live", netio.ShapeStream, false}, {"carol", "exec", netio.ShapeCall, true}, {"carol", "shoal.stats", netio.ShapeCall, false},
		{"dave", "square", netio.ShapeCall, false}, {"dave", "shoal.list", netio.ShapeCall, false}, {"", "square", netio.ShapeCall, false},
	} {
		if got := r.Allow(c.who, c.name, c.shape); got != c.want {
			t.Errorf("%s %s %v: %v", c.who, c.name, c.shape, got)
		}
	}
	ask := func(who, via, target, command string) bool {
		return r.AllowRun(who, via, &runner.Request{Target: target, Command: command})
	}
	if !ask("alice", "ssh", "web1", "uptime") || ask("alice", "ssh", "web1", "uptime; reboot") || ask("alice", "ssh", "db1", "uptime") ||
		ask("alice", "exec", "", "uptime") || !ask("carol", "exec", "", "uptime") || ask("carol", "ssh", "web1", "uptime") {
		t.Error("runners")
	}
	if ok, why := r.ExplainRun("alice", "ssh", &runner.Request{Target: "web1", Command: "uptime"}); !ok || !strings.Contains(why, "rights.toml:5") {
		t.Error(why)
	}
	if ok, why := r.Explain("dave", "square", netio.ShapeCall); ok || !strings.Contains(why, "dave") {
		t.Error(why)
	}
	if n := testing.AllocsPerRun(100, func() { r.Allow("alice", "table7", netio.ShapeCall); r.Allow("dave", "table7", netio.ShapeCall) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRightsAreCheckedWhole(t *testing.T) {
	for text, want := range map[string]string{
		"[[allow]]\ncall = [\"x\"]":                                "r:1: who is missing",
		"\n[[allow]]\nwho = [\"@x\"]":                              "r:2: there is no group",
		"[[allow]]\nwho = [\"a b\"]":                               "bad name",
		"[[allow]]\nwho = [\"a\"]\ncalls = [\"x\"]":                "allow.calls",
		"[[allow]]\nwho = [\"a\"]\ncall = [\"x\"]\nshapes=[\"y\"]": "shape \"y\"",
		"[[allow]]\nwho = [\"a\"]\nshapes=[\"call\"]":              "shapes says nothing",
		"[[allow]]\nwho = [\"a\"]\nfiles=\"all\"":                  "files is \"all\"",
		"[[allow]]\nwho = [\"a\"]\nadmin=[\"root\"]":               "admin has \"root\"",
		"[[allow]]\nwho = [\"a\"]\nssh=[\"uptime\"]":               "ssh: pattern",
		"[[allow]\n":           "r:",
		"[groups]\nx = [\"\"]": "bad name",
		"allow = 3":            "",
	} {
		if _, err := ParseRights("r", text); !errors.Is(err, ErrBadRights) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseRights("example", ExampleRights); err != nil {
		t.Error(err)
	}
}

// FuzzRights holds rights against a model that looks at every rule for every question.
func FuzzRights(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{9, 0, 255, 17, 3, 3, 3, 1, 0, 0, 8, 200})
	names := []string{"a", "ab", "abc", "b", "ba", "shoal.list", "shoal.stop", "shoal.files.get", "shoal.files.put", "ssh", "exec.live"}
	globs := []string{"*", "a*", "*b", "a*c", "ab", "**", "b"}
	identities := []string{"alice", "bob", "carol"}
	f.Fuzz(func(t *testing.T, data []byte) {
		type modelRule struct {
			who   []string
			call  []string
			files string
			admin bool
			ssh   bool
		}
		var model []modelRule
		text := "[groups]\ntwo = [\"alice\", \"bob\"]\n"
		for len(data) >= 4 {
			u := modelRule{who: []string{identities[int(data[0])%3]}, call: []string{globs[int(data[1])%len(globs)]}, files: []string{"", "read", "write"}[data[2]%3],
				admin: data[3]&1 != 0, ssh: data[3]&2 != 0}
			who := u.who[0]
			switch data[3] >> 6 {
			case 1:
				who, u.who = "*", []string{"alice", "bob", "carol", "dave"}
			case 2:
				who, u.who = "@two", []string{"alice", "bob"}
			}
			text += fmt.Sprintf("[[allow]]\nwho = [%q]\ncall = [%q]\nfiles = %q\n", who, u.call[0], u.files)
			if u.admin {
				text += "admin = [\"stop\"]\n"
			}
			if u.ssh {
				text += "ssh = [\"** **\"]\n"
			}
			model = append(model, u)
			data = data[4:]
		}
		r, err := ParseRights("model", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, who := range append(identities, "dave") {
			for _, name := range names {
				want := false
				for _, u := range model {
					if !slices.Contains(u.who, who) {
						continue
					}
					switch name {
					case "shoal.list":
						want = true
					case "shoal.stop":
						want = want || u.admin
					case "shoal.files.get":
						want = want || u.files != ""
					case "shoal.files.put":
						want = want || u.files == "write"
					case "ssh":
						want = want || u.ssh
					case "exec.live":
					default:
						ok, _ := path.Match(u.call[0], name)
						want = want || ok
					}
				}
				if got := r.Allow(who, name, netio.ShapeCall); got != want {
					t.Errorf("%s %s: %v\n%s", who, name, got, text)
				}
			}
		}
	})
}
