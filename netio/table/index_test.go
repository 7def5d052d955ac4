package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever a map has, the index has, and nothing else: keys of all lengths, empty ones and empty answers too.
func TestIndex(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 20_000} {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		entries := map[string]Entry{}
		for i := range n {
			key := fmt.Sprintf("%d:%s", i, bytes.Repeat([]byte("k"), random.IntN(100)))
			if i == 1 {
				key = ""
			}
			entries[key] = Entry{Response: bytes.Repeat([]byte{byte(i)}, random.IntN(200)), Wait: time.Duration(random.IntN(3)) * time.Second}
		}
		x := newIndex(entries)
		if x.count != n {
			t.Errorf("%d entries: count %d", n, x.count)
		}
		for key, want := range entries {
			hash := x.hash([]byte(key))
			x.fetch([]uint64{hash})
			response, wait, ok := x.find([]byte(key), hash)
			if !ok || wait != want.Wait || !bytes.Equal(response, want.Response) || cap(response) != len(response) {
				t.Fatalf("%d entries: %q gave %q (capacity %d), %v, %v, want %q, %v", n, key, response, cap(response), wait, ok, want.Response, want.Wait)
			}
		}
		for i := range 1000 {
			missing := fmt.Appendf(nil, "missing %d", i)
			if response, _, ok := x.find(missing, x.hash(missing)); ok {
				t.Fatalf("%d entries: %q gave %q", n, missing, response)
			}
		}
	}
}

// Keys whose hashes are the same, as they would be of an attacker who knew the seed, are told apart.
func TestIndexSameHash(t *testing.T) {
	x := newIndex(map[string]Entry{"a": {Response: []byte("1")}, "b": {Response: []byte("2")}})
	for key, want := range map[string]string{"a": "1", "b": "2"} {
		hash := x.hash([]byte(key))
		for _, other := range []string{"c", key + key, ""} {
			if response, _, ok := x.find([]byte(other), hash); ok {
				t.Errorf("%q with the hash of %q gave %q", other, key, response)
			}
		}
		if response, _, _ := x.find([]byte(key), hash); string(response) != want {
			t.Errorf("%q gave %q", key, response)
		}
	}
}

// BenchmarkLookups: lookups of random keys in 100,000 entries, together and one by one, beside a map.
func BenchmarkLookups(b *testing.B) {
	const size = 24
	entries := map[string]Entry{}
	var frame []byte // keys one after another, as they come
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(100_000) {
		frame = fmt.Appendf(frame, "host-%08d:uptime-abc", i)
	}
	for i := range 100_000 { // in another order, so that the answers are not side by side in memory
		entries[fmt.Sprintf("host-%08d:uptime-abc", i)] = Entry{Response: bytes.Repeat([]byte("h"), 64)}
	}
	key := func(i int) []byte {
		at := i * size % len(frame)
		return frame[at : at+size]
	}
	t := New(entries)
	out := make([]byte, 0, 64)
	for _, n := range []int{1, 16, LookupsTogether} {
		b.Run(fmt.Sprintf("together%d", n), func(b *testing.B) {
			keys, found := make([][]byte, n), make([]Found, n)
			for i := 0; i < b.N; i += n {
				for k := range keys {
					keys[k] = key(i + k)
				}
				t.LookupAll(keys, found)
				for _, f := range found {
					out = append(out[:0], f.Response...)
				}
			}
		})
	}
	b.Run("one", func(b *testing.B) {
		for i := range b.N {
			response, _, _ := t.Lookup(key(i))
			out = append(out[:0], response...)
		}
	})
	b.Run("map", func(b *testing.B) {
		for i := range b.N {
			out = append(out[:0], entries[string(key(i))].Response...)
		}
	})
}
