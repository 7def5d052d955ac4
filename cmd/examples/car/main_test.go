package main

import (
	"bytes"
	"regexp"
	"strconv"
	"testing"
	"time"
)

func TestCar(t *testing.T) {
	for _, fullSpeed := range []bool{true, false} {
		var out bytes.Buffer
		const drive = 500 * time.Millisecond
		if err := run(t.Context(), &out, "", drive, fullSpeed); err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^car_camera: (\d+) readings of 49152 bytes, .*/s, .* MiB/s
car_lidar: (\d+) readings of 4096 bytes, .*/s, .* MiB/s
car_motion: (\d+) readings of 48 bytes, .*/s, .* MiB/s
(\d+) controls: p50 \S+, p99 \S+, max \S+
$`)
		match := want.FindStringSubmatch(out.String())
		if match == nil {
			t.Fatalf("got %s", out.String())
		}
		for _, m := range match[1:] {
			if n, err := strconv.Atoi(m); err != nil || n < 3 {
				t.Errorf("too few: %s", out.String())
			}
		}
		t.Logf("full speed %v:\n%s", fullSpeed, out.String())
	}
}
