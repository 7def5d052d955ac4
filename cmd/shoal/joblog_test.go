package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shoal/netio/lines"
)

func writeLog(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "run.log")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	logJob   = `{"job":"000102030405060708090a0b0c0d0e0f"}` + "\n"
	logOne   = `{"task":"a:x","n":1,"subroutine":"table","status":"ok"}` + "\n"
	logTwo   = `{"task":"a:x","n":2,"subroutine":"table","status":"failed"}` + "\n"
	logThree = `{"task_base64":"/zp4","n":1,"subroutine":"table","status":"lost"}` + "\n"
)

// A log that was cut off at any byte is read as far as it goes, and written on from there.
func TestJobLogTornAnywhere(t *testing.T) {
	whole := logJob + logOne + logTwo + logThree
	for size := 0; size <= len(whole); size++ {
		name := writeLog(t, whole[:size])
		l, err := openJobLog(name, "table", true, false)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		lines := strings.Count(whole[:size], "\n")
		if len(l.done) != max(0, lines-1) {
			t.Errorf("%d bytes: %d are done, want %d", size, len(l.done), lines-1)
		}
		kept := whole
		if job := fmt.Sprintf(jobLine, l.job); lines == 0 { // the job gets another name
			kept, lines = job, 1
		}
		l.add([]byte("b:y"), 1, &record{Status: "ok", Host: "b", Command: "y", Attempt: 2, Start: time.Unix(0, 0), End: time.Unix(1, 5e6)})
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(name)
		want := strings.Join(strings.SplitAfter(kept, "\n")[:lines], "") + `{"task":"b:y","n":1,"subroutine":"table","status":"ok",` +
			`"host":"b","command":"y","attempt":2,"start":"1970-01-01T00:00:00.000Z","end":"1970-01-01T00:00:01.005Z"}` + "\n"
		if string(got) != want {
			t.Errorf("%d bytes: the log is\n%s", size, got)
		}
	}
}

func TestJobLogSaysWhatIsDone(t *testing.T) {
	log := logOne + logTwo + logThree + `{"task":"b:y","n":1,"subroutine":"table","status":"busy"}` + "\n" +
		`{"task":"c:z","n":1,"subroutine":"other","status":"ok"}` + "\n" +
		`{"task":"d:z","n":1,"subroutine":"table","status":"unknown_subroutine"}` + "\n"
	for _, failed := range []bool{false, true} {
		l, err := openJobLog(writeLog(t, log), "table", true, failed)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			task string
			done bool
		}{
			{"a:x", true},       // ok
			{"a:x", !failed},    // the second of that name failed
			{"a:x", false},      // there was no third
			{"\xff:x", !failed}, // lost: it may have run
			{"b:y", false},      // refused
			{"c:z", false},      // of another subroutine
			{"d:z", false},      // there was none
		} {
			if _, status := l.next([]byte(c.task)); (status != "") != c.done {
				t.Errorf("failed ones too %v: %q is done %q, want %v", failed, c.task, status, c.done)
			}
		}
		_ = l.close()
	}
}

func TestJobLogRefuses(t *testing.T) {
	for _, c := range []struct{ content, place string }{
		{logOne + "garbage\n" + logTwo, ":2: "},
		{logOne + logTwo + "garbage\n", ":3: "},
		{"precious\nlines\n", ":1: "},
		{"precious, and without an end", ":1: "},
		{"\n", ":1: "},
	} {
		name := writeLog(t, c.content)
		if _, err := openJobLog(name, "table", true, false); !errors.Is(err, lines.ErrBadFile) || !strings.Contains(err.Error(), c.place) {
			t.Errorf("%q: %v", c.content, err)
		}
		if left, _ := os.ReadFile(name); string(left) != c.content {
			t.Errorf("%q: %q is left", c.content, left)
		}
	}
	if _, err := openJobLog(writeLog(t, logOne), "table", false, false); err == nil {
		t.Error("a log that is there is overwritten")
	}
	name := writeLog(t, "")
	l, err := openJobLog(name, "table", false, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openJobLog(name, "table", true, false); err == nil {
		t.Error("two runs write one log")
	}
	_ = l.close()
}

func TestJobLogOnFullDisk(t *testing.T) {
	l, err := openJobLog(fullDisk(t).Name(), "table", false, false)
	if err != nil {
		t.Fatal(err)
	}
	l.add([]byte("a:x"), 1, &record{Status: "ok"})
	var failure *jobLogError
	if err := l.flush(); !errors.As(err, &failure) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	if err := l.close(); !errors.As(err, &failure) {
		t.Errorf("and stays %v", err)
	}
}
