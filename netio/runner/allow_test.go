package runner

import "testing"

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		targets bool
		req     Request
		want    bool
	}{
		{"uptime", false, Request{Command: "uptime"}, true},
		{"uptime", false, Request{Command: "uptime "}, false},
		{"uptime", false, Request{Argv: []string{"uptime"}}, true},
		{"systemctl status *", false, Request{Command: "systemctl status ssh"}, true},
		{"systemctl status *", false, Request{Command: "systemctl status ssh; reboot"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status ssh\nreboot"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status $(reboot)"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status `reboot`"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status a|b"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status >f"}, false},
		{"systemctl status *", false, Request{Command: "systemctl status a&b"}, false},
		{"ls *", false, Request{Argv: []string{"ls", "a;b"}}, false}, // it is quoted, and * stands for no quotes
		{"ls **", false, Request{Argv: []string{"ls", "a;b"}}, true},
		{"**", false, Request{Command: "anything; at > all"}, true},
		{"a*b*c", false, Request{Command: "abbbc"}, true},
		{"a*b*c", false, Request{Command: "abbbd"}, false},
		{"a*", false, Request{Command: "aé"}, true},
		{"web* uptime", true, Request{Target: "web07", Command: "uptime"}, true},
		{"web* uptime", true, Request{Target: "WEB07.example.org", Command: "uptime"}, true},
		{"web* uptime", true, Request{Target: "db1", Command: "uptime"}, false},
		{"web* uptime", true, Request{Target: "web07", Command: "reboot"}, false},
		{"web* uptime", true, Request{Target: "root@web07", Command: "uptime"}, false},
		{"* uptime", true, Request{Target: "root@web07", Command: "uptime"}, false},
		{"** uptime", true, Request{Target: "root@web07", Command: "uptime"}, false},
		{"web* uptime", true, Request{Target: "web07:2222", Command: "uptime"}, false},
		{"web*:22 uptime", true, Request{Target: "web07:22", Command: "uptime"}, true},
		{"root@* uptime", true, Request{Target: "root@web07", Command: "uptime"}, true},
		{"fe80::* uptime", true, Request{Target: "FE80::1", Command: "uptime"}, true},
		{"* **", true, Request{Target: "x", Command: ""}, true},
	} {
		p, err := ParsePatterns([]string{"never", c.pattern}[1:], c.targets)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Allow(&c.req); got != c.want {
			t.Errorf("%q and %q on %q: %v", c.pattern, c.req.CommandText(), c.req.Target, got)
		}
	}
	if new(Patterns).Allow(&Request{Command: "x"}) {
		t.Error("no patterns allow something")
	}
	for _, bad := range []string{"", " ", "web*"} {
		if _, err := ParsePatterns([]string{bad}, true); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
