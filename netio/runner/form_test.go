package runner

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRecordFormIsFrozen(t *testing.T) {
	r := &Record{
		Runner: "ssh", Target: "web07", Command: "cat \xff <x>", Stage: StageDone, Exited: true, Exit: 3,
		Stdout: []byte("one\ntwo"), StdoutGap: 4, StdoutDropped: 17, Stderr: []byte("\xfe"), StderrGap: -1, Attempt: 2,
		Start: time.Date(2026, 11, 30, 12, 0, 0, 5000, time.UTC), Elapsed: 1500 * time.Microsecond, Detail: json.RawMessage(`{"a":1}`),
	}
	r.Took[StageConnect], r.Took[StageRun] = time.Millisecond, 250*time.Microsecond
	const want = `{"v":1,"runner":"ssh","target":"web07","command_base64":"Y2F0IP8gPHg+","stage":"done","reason":"","error":"",` +
		`"exit":3,"stdout":"one\ntwo","stderr_base64":"/g==","stdout_dropped":17,"stdout_gap":4,"attempt":2,` +
		`"start":"2026-11-30T12:00:00.000005Z","elapsed_ms":1.5,"stage_ms":{"connect":1,"run":0.25},"detail":{"a":1}}`
	body, err := r.MarshalJSON()
	if err != nil || string(body) != want {
		t.Fatalf("%v\n got %s\nwant %s", err, body, want)
	}
	back, err := ParseRecord(body)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, back, r)
	}
	if err := r.Err(); err == nil || err.Error() != "web07: done: exit status 3" {
		t.Errorf("Err: %v", err)
	}
}

func TestRequestForm(t *testing.T) {
	for _, r := range []Request{
		{},
		{Target: "root@[::1]:22", Command: "uptime", Timeout: time.Second, Attempt: 3, Output: 100},
		{Argv: []string{"a", "\xff", ""}, Env: []string{"A=b", "C="}, Dir: "/tmp", Stdin: []byte("\x00\x01")},
		{Command: "x\xff", Shell: true, Silence: time.Minute, Grace: 5 * time.Millisecond, ConnectTimeout: time.Hour, Detail: json.RawMessage(`[1]`)},
	} {
		body, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Request
		if err := json.Unmarshal(body, &back); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", body, err, back, r)
		}
	}
	if body, _ := (&Request{Timeout: 1}).MarshalJSON(); !strings.Contains(string(body), `"timeout_ms":1`) {
		t.Errorf("a nanosecond became %s", body)
	}
	for _, bad := range []string{
		``, `[]`, `{}`, `{"v":2}`, `{"v":1,"timeout_ms":-1}`, `{"v":1,"timeout_ms":99999999999999}`, `{"v":1,"max_output":-1}`,
		`{"v":1,"max_output":99999999}`, `{"v":1,"target":"a","target_base64":"YQ=="}`, `{"v":1,"target_base64":"?"}`,
		`{"v":1,"argv":["a"],"argv_base64":["YQ=="]}`, `{"v":1,"env":["=x"]}`, `{"v":1,"env":["x"]}`, `{"v":1,"argv":["a"],"command":"a"}`,
		`{"v":1,"command":"a\u0000b"}`, `{"v":1,"attempt":-1}`, `{"v":1,"command":"` + strings.Repeat("a", maxText+1) + `"}`,
	} {
		if err := json.Unmarshal([]byte(bad), new(Request)); err == nil {
			t.Errorf("%.80s was read", bad)
		}
	}
	err := json.Unmarshal([]byte(`{"v":1,"env":["TOKEN=hidden\u0000"]}`), new(Request))
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("the value of an environment entry is in %v", err)
	}
}

func FuzzForms(f *testing.F) {
	f.Add([]byte(`{"v":1,"runner":"x","stage":"run","stdout":"a","stderr_base64":"/w==","start":"2026-11-30T12:00:00Z"}`))
	f.Add([]byte(`{"v":1,"argv":["a","b"],"env_base64":["QT1i"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRecord(data); err == nil {
			body, err := r.MarshalJSON()
			if err != nil {
				return // a time beyond what JSON carries
			}
			back, err := ParseRecord(body)
			if err != nil || string(back.Stdout) != string(r.Stdout) || back.Stage != r.Stage || back.Error != r.Error {
				t.Fatalf("%s became %s: %v", data, body, err)
			}
		}
		var r, back Request
		if json.Unmarshal(data, &r) != nil {
			return
		}
		body, err := r.MarshalJSON()
		if err == nil {
			err = json.Unmarshal(body, &back)
		}
		if err != nil || r.CommandText() != back.CommandText() || r.Target != back.Target {
			t.Fatalf("%s became %s: %v", data, body, err)
		}
	})
}

func TestFailureIsOneLineThatNamesTargetAndStage(t *testing.T) {
	r := NewRecord("ssh", &Request{Target: "web07"})
	r.Enter(StageConnect)
	r.Fail(ReasonRefused, errors.New("connection refused\nby the \x1b[31mpeer\xff"))
	if r.Error != "web07: connect: connection refused by the  [31mpeer\ufffd" || r.OK() || r.Err().Error() != r.Error {
		t.Errorf("%q", r.Error)
	}
	if r.Took[StageConnect] <= 0 || r.Took[StageAuth] != 0 || r.Elapsed < 0 {
		t.Errorf("times %v, %v", r.Took, r.Elapsed)
	}
}

func TestShellJoin(t *testing.T) {
	for want, argv := range map[string][]string{
		"ls -l /tmp":     {"ls", "-l", "/tmp"},
		`echo 'a b' ''`:  {"echo", "a b", ""},
		`echo 'it'\''s'`: {"echo", "it's"},
		`'A=b' c=d '$x'`: {"A=b", "c=d", "$x"},
	} {
		if argv != nil && ShellJoin(argv) != want {
			t.Errorf("%q became %s, want %s", argv, ShellJoin(argv), want)
		}
	}
}
