package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// embedded runs a command for each target beside the client, without a gateway of its own.
func embedded(t *testing.T, args ...string) outcome {
	t.Helper()
	return shoal(t, "", append([]string{"client", "exec", "--embedded", "--via", "exec"}, args...)...)
}

func inOrder(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestExecNamesTheTargetOfEachLine(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "web[01-03]!web02,db1", "-x", "db*,x", "--groups", write(t, "all: web01"), "--shell", "--",
		`echo "to $SHOAL_TARGET"; echo two; echo err >&2`).want(t, 0)
	want := "db1: to db1\ndb1: two\nweb01: to web01\nweb01: two\nweb03: to web03\nweb03: two"
	if got := inOrder(o.lines()); got != want {
		t.Errorf("standard output:\n%s", got)
	}
	for _, w := range []string{"web01: err\n", "web03: err\n", "3 tasks: 3 ok;"} {
		if !strings.Contains(o.stderr, w) {
			t.Errorf("standard error has no %q:\n%s", w, o.stderr)
		}
	}
}

// write writes a file, and returns its name.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExecLetsNothingRawReachATerminal(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "a", "--shell", "--", `printf '\033[2Jred\tx\r\n\377\302\205end'; printf '\033]0;title\007' >&2; exit 3`).want(t, exitFailed)
	if want := "a: \\x1b[2Jred\tx\na: \\xff\\xc2\\x85end\n"; o.stdout != want {
		t.Errorf("%q, want %q", o.stdout, want)
	}
	if !strings.Contains(o.stderr, `a: \x1b]0;title\x07`) || strings.ContainsAny(o.stderr, "\x1b\x07") {
		t.Errorf("%q", o.stderr)
	}
}

func TestExecGathersEqualAnswers(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "n[01-20]", "-b", "--shell", "--", `case $SHOAL_TARGET in n07) echo other;; *) echo same;; esac`).want(t, 0)
	bar := "---------------\n"
	if want := bar + "n[01-06,08-20] (19)\n" + bar + "same\n" + bar + "n07 (1)\n" + bar + "other\n"; o.stdout != want {
		t.Errorf("standard output:\n%s", o.stdout)
	}
}

// A group is shown while another target is still under way.
func TestExecShowsAGroupWhenItIsComplete(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, nil, "client", "exec", "--embedded", "--via", "exec", "-w", "n[1-4]", "-b", "--gather-time", "50ms", "--shell",
		"--env", "GATE="+gate, "--", `if [ $SHOAL_TARGET = n4 ]; then cat $GATE; else echo same; fi`)
	eventually(t, "the group is shown", func() bool { return strings.Count(r.stdout.String(), "same") > 0 })
	if err := os.WriteFile(gate, []byte("late\n"), 0); err != nil {
		t.Fatal(err)
	}
	if status := r.wait(); status != 0 || !strings.Contains(r.stdout.String(), "n4 (1)\n---------------\nlate\n") {
		t.Errorf("%d:\n%s", status, r.stdout.String())
	}
}

func TestExecJSONLines(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "n[1-3]", "--output", "jsonl", "--shell", "--",
		`case $SHOAL_TARGET in n2) echo out; echo err >&2; exit 4;; n3) kill -9 $$;; *) printf '\377';; esac`).want(t, exitFailed)
	seen := map[string]bool{}
	for _, line := range o.lines() {
		var r struct {
			V                             int
			Host, Command, Status, Stage  string
			Reason, Error, Signal, Stdout string
			Stderr, Start                 string
			Base64                        string `json:"stdout_base64"`
			Exit                          *int
			Attempt                       int
			Times                         map[string]float64
			Elapsed                       float64 `json:"elapsed_ms"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		seen[r.Host] = true
		ok := r.V == 1 && r.Attempt == 1 && r.Stage == "done" && strings.HasPrefix(r.Command, "case ") && r.Start != "" && r.Elapsed > 0 && r.Times["run"] > 0
		switch r.Host {
		case "n1":
			ok = ok && r.Status == "ok" && r.Base64 == "/w==" && *r.Exit == 0 && r.Error == ""
		case "n2":
			ok = ok && r.Status == "failed" && r.Stdout == "out\n" && r.Stderr == "err\n" && *r.Exit == 4 && r.Error == "exit status 4"
		case "n3":
			ok = ok && r.Status == "failed" && r.Signal == "KILL" && r.Exit == nil
		}
		if !ok {
			t.Error(line)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%v", seen)
	}
}

func TestExecCSV(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "n1", "--output", "csv", "--", "sh", "-c", `printf 'a,"b"\nc'`).want(t, 0)
	rows, err := csv.NewReader(strings.NewReader(o.stdout)).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Fatalf("%v, %v", rows, err)
	}
	for column, want := range map[string]string{"host": "n1", "status": "ok", "stage": "done", "exit": "0", "attempt": "1",
		"stdout": "a,\"b\"\nc", "stderr": "", "command": `sh -c 'printf '\''a,"b"\nc'\'''`} {
		if got := rows[1][slices.Index(rows[0], column)]; got != want {
			t.Errorf("%s: %q, want %q", column, got, want)
		}
	}
}

func TestExecWritesAFileATarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	embedded(t, "-w", "n[1-2],2001:DB8::1", "--outdir", filepath.Join(dir, "out"), "--errdir", filepath.Join(dir, "err"), "--shell", "--",
		`echo "$SHOAL_TARGET"; printf '\033e' >&2`).want(t, 0)
	for name, want := range map[string]string{"out/n1": "n1\n", "out/n2": "n2\n", "out/2001:db8::1": "2001:db8::1\n", "err/n1": "\x1be"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What did not end well is listed, equal errors together, and can be run again.
func TestExecFailedTargetsCanBeRunAgain(t *testing.T) {
	t.Parallel()
	again := filepath.Join(t.TempDir(), "again")
	o := embedded(t, "-w", "n[1-9]", "--failed-file", again, "--shell", "--", `case $SHOAL_TARGET in n[3-5]) exit 3;; n8) exit 8;; esac`).want(t, exitFailed)
	for _, want := range []string{"not ok: n[3-5] (3): failed: exit status 3\n", "not ok: n8: failed: exit status 8\n", "9 tasks: 5 ok, 4 failed"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("no %q in\n%s", want, o.stderr)
		}
	}
	o = embedded(t, "--hostfile", again, "--output", "text", "--shell", "--", `echo $SHOAL_TARGET`).want(t, 0)
	if got := inOrder(o.lines()); got != "n3: n3\nn4: n4\nn5: n5\nn8: n8" {
		t.Errorf("again:\n%s", got)
	}
}

// A gateway offers nothing that it was not told to.
func TestExecOfAGatewayThatDoesNotOfferIt(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	for _, via := range []string{"ssh", "exec"} {
		o := g.client(t, "", "exec", "--via", via, "-w", "n[1-3]", "--", "true").want(t, exitFailed)
		want := "not ok: n[1-3] (3): unknown_subroutine: the gateway does not offer " + via + ": start it with --" + via + "\n"
		if !strings.Contains(o.stderr, want) {
			t.Errorf("no %q in\n%s", want, o.stderr)
		}
	}
}

func TestExecStatuses(t *testing.T) {
	t.Parallel()
	embedded(t, "-w", "n[1-3]", "-S", "--shell", "--", `exit ${SHOAL_TARGET#n}`).want(t, 3)
	embedded(t, "-w", "n[1-3]", "-S", "--", "true").want(t, 0)
	embedded(t, "-w", "n1", "-S", "--shell", "--", "kill -9 $$").want(t, 255)
	o := embedded(t, "-w", "n[1-2]", "--timeout", "200ms", "--shell", "--", "echo begun; sleep 600").want(t, exitUnknown)
	if got := inOrder(o.lines()); got != "n1: begun\nn2: begun" || !strings.Contains(o.stderr, "not ok: n[1-2] (2): timeout: run: ") {
		t.Errorf("%s\n%s", got, o.stderr)
	}
	o = embedded(t, "-w", "n1", "--", "no-such-program").want(t, exitFailed)
	if !strings.Contains(o.stderr, "not ok: n1: failed: start: ") {
		t.Error(o.stderr)
	}
}

func TestExecRollsOut(t *testing.T) {
	t.Parallel()
	o := embedded(t, "-w", "n[1-20]", "--canary", "1,10%", "--shell", "--", `test $SHOAL_TARGET != n2 && echo ok`).want(t, exitFailed)
	stopped := strings.Contains(o.stderr, "17 tasks not sent") || strings.Contains(o.stderr, "18 tasks not sent") // n3 may be on its way by then
	if !strings.Contains(o.stderr, "not ok: n2: failed: exit status 1\n") || !stopped {
		t.Error(o.stderr)
	}
	dir := t.TempDir()
	o = embedded(t, "-w", "n1", "--retries", "2", "--backoff", "1ms", "--output", "jsonl", "--env", "DIR="+dir, "--shell", "--",
		`echo x >>$DIR/x; test $(wc -l <$DIR/x) = 3`).want(t, 0)
	if !strings.Contains(o.stdout, `"attempt":3`) {
		t.Error(o.stdout)
	}
	// One at a time: a second one would find the folder.
	embedded(t, "-w", "n[1-10]", "-f", "1", "--env", "DIR="+dir, "--shell", "--", `mkdir $DIR/only && rmdir $DIR/only`).want(t, 0)
}

func TestExecDryRun(t *testing.T) {
	t.Parallel()
	o := shoal(t, "n[1-20]\n", "client", "exec", "-w", "-", "--canary", "1,10%", "-n", "--", "uptime").want(t, 0)
	want := "uptime would run via ssh on 20 targets, at most 64 at once:\nwave 1, 1 target: n1\nwave 2, 2 targets: n[2-3]\nwave 3, 17 targets: n[4-20]\n"
	if o.stdout != want {
		t.Errorf("%s", o.stdout)
	}
	o = shoal(t, "", "client", "exec", "-w", "10.0.0.0/8", "--limit", "0.001%", "--seed", "1", "-n", "--", "uptime").want(t, 0)
	if !strings.HasPrefix(o.stdout, "uptime would run via ssh on 168 targets") {
		t.Errorf("%s", o.stdout)
	}
}

func TestExecRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"-w n1", "no command"},
		{"-- true", "no targets"},
		{"-w n[1-3 -- true", `"n[1-3", character 2: this [ is not closed`},
		{"-w @web -- true", "no groups file is given"},
		{"-w n1 -x n[1-3] -- true", "-x leaves none of the 1 targets"},
		{"-w n[1-99999999/3] -- true", "33333333 numbers"},
		{"-w ::/0 -- true", "targets: at most"},
		{"-w n1 --canary 1,x -- true", "--canary"},
		{"-w n1 --halt soon -- true", "--halt"},
		{"-w n1 --pause 1s -- true", "--pause goes with --canary"},
		{"-w n1 --retries=-1 -- true", "negative"},
		{"-w n1 -b --output csv -- true", "--gather goes with"},
		{"-w n1 --via ssh --shell -- true", "--shell goes with --via exec"},
		{"-w n1 --max-output 0 -- true", "--max-output 0"},
		{"-w n1 --seed 1 -- true", "--seed goes with"},
		{"-w n1 --limit 0% -- true", "--limit"},
		{"-w n1 --hostfile /no/such -- true", "no such file"},
		{"-w n1 --outdir /dev/null/x -- true", "--outdir"},
		{"-w n1 --env =x -- true", "NAME=VALUE"},
	} {
		args := append([]string{"client", "exec"}, strings.Fields(test.args)...)
		o := shoal(t, "", args...).want(t, exitUsage)
		if !strings.Contains(o.stderr, test.want) || strings.Count(o.stderr, "\n") > 2 || o.stdout != "" {
			t.Errorf("%s: %q, want %q", test.args, o.stderr, test.want)
		}
	}
	shoal(t, "", "client", "--gateway", "tcp://127.0.0.1:1", "exec", "-w", "n1", "--", "true").want(t, exitUnreachable)
}

// SIGUSR1 shows what is under way and ends nothing; an interrupt shows it and ends.
func TestExecShowsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, nil, "client", "exec", "--embedded", "--via", "exec", "-w", "n[1-40]", "-f", "3", "--env", "DIR="+dir, "--shell",
		"--", "touch $DIR/$SHOAL_TARGET; sleep 600")
	eventually(t, "three tasks run", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 3
	})
	r.signal(syscall.SIGUSR1)
	eventually(t, "SIGUSR1 shows them", func() bool { return strings.Count(r.stderr.String(), "under way: n") == 3 })
	r.signal(syscall.SIGINT)
	if status := r.wait(); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{"under way: n1 for ", "canceled", "37 tasks not sent"} {
		if !strings.Contains(r.stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, r.stderr.String())
		}
	}
}
