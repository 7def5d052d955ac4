package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"shoal/cmd/internal/demo"
	"shoal/netio"
)

func TestBackupOverTheLimit(t *testing.T) {
	var out bytes.Buffer
	to := filepath.Join(t.TempDir(), "backup")
	if err := run(t.Context(), &out, "", 80, "app-*.log", to); err != nil {
		t.Fatal(err)
	}
	if want := "90 % of the disk are in use\nfetched 8 logs of 838640 bytes\nremoved 8 logs; 10 % are in use\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
	kept, _ := filepath.Glob(filepath.Join(to, "app-[1-8].log"))
	if len(kept) != 8 {
		t.Errorf("kept %v", kept)
	}
	for _, name := range kept {
		if info, err := os.Stat(name); err != nil || info.Size() != 838640/8 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestBackupBelowTheLimit(t *testing.T) {
	var out bytes.Buffer
	to := filepath.Join(t.TempDir(), "backup")
	if err := run(t.Context(), &out, "", 95, "*.log", to); err != nil {
		t.Fatal(err)
	}
	if want := "90 % of the disk are in use\nthat is below 95 %: nothing to do\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Error("a folder was made for nothing")
	}
}

// When the logs cannot be kept here, they stay there.
func TestBackupKeepsWhatItCannotFetch(t *testing.T) {
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	remove, err := demo.Backup(gw)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	to := filepath.Join(t.TempDir(), "backup")
	if err := os.MkdirAll(filepath.Join(to, "app-3.log"), 0o700); err != nil { // a folder in the place of a log
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out, gw.URLs()[0], 80, "app-*.log", to); err == nil {
		t.Fatalf("no error:\n%s", out.String())
	}
	if err := run(t.Context(), &out, gw.URLs()[0], 95, "", to); err != nil || !bytes.Contains(out.Bytes(), []byte("90 % of the disk are in use\nthat is")) {
		t.Errorf("logs were removed: %v\n%s", err, out.String())
	}
}
