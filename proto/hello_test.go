package proto

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func testHello() Hello {
	return Hello{
		MinVersion: 1, MaxVersion: 1, Features: FeatureS2 | FeatureZstd, FrameLimit: 1 << 20, StreamCredit: 1 << 18,
		Session: ID{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F},
		Lane:    2, Clock: 7654321,
		Extensions: []Extension{{ExtensionCredential, []byte("token")}, CreditExtension(1 << 22), {0x0777, []byte("later")}},
	}
}

// testKey is the key of the lane of testHello.
var testKey = bytes.Repeat([]byte("key "), KeySize/4)

// testResume is the hello by which the client of testHello goes on.
func testResume() Hello {
	h := testHello()
	h.Resume, h.Received, h.Clock = true, 123456, 7999999
	h.Prove(testKey, testHello().Clock)
	return h
}

func testWelcome() Welcome {
	return Welcome{
		Version: 1, Features: FeatureS2, FrameLimit: 1 << 22, StreamCredit: 1 << 16,
		Window: 1024, Streams: 64, WindowBytes: 1 << 24, IdleTimeout: 30000,
		Life:       ID{0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F},
		Extensions: []Extension{{ExtensionKey, testKey}, CreditExtension(1 << 23), {0x0777, []byte("later")}},
	}
}

// testResumed is the answer to testResume, of a gateway that drains.
func testResumed() Welcome {
	w := testWelcome()
	w.Resumed, w.Draining, w.Received = true, true, 654321
	w.Extensions = w.Extensions[1:]
	return w
}

// extensionCases are tails of a handshake that are well formed.
var extensionCases = [][]Extension{
	nil,
	{{Type: 0x40, Value: []byte{}}},
	{{Type: 0, Value: []byte("a")}, {Type: 0x7FFF, Value: []byte{}}, {Type: 0x8001, Value: []byte("critical")}},
	{{Type: 0x40, Value: bytes.Repeat([]byte{3}, 4000)}},
}

func TestHelloRoundTrip(t *testing.T) {
	largest := Hello{MinVersion: 1, MaxVersion: 0xFFFF, Features: 1<<32 - 1, FrameLimit: 1<<32 - 1, StreamCredit: 1<<32 - 1,
		Session: ID{15: 1}, Lane: 0xFFFF, Resume: true, Received: 1<<64 - 1, Clock: MaxClock}
	largest.Prove(testKey, 1<<64-1)
	cases := []Hello{{MinVersion: Version, MaxVersion: Version, FrameLimit: MinFrameLimit}, testHello(), testResume(), largest}
	for _, extensions := range extensionCases {
		h := testHello()
		h.Extensions = extensions
		cases = append(cases, h)
	}
	for _, want := range cases {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendHello(dst, want) })
		got, err := ParseHello(payloadOf(t, wire, KindHello))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
}

// Of a hello in another version only the versions are read, however the rest looks.
func TestHelloOfAnotherVersion(t *testing.T) {
	for _, versions := range [][2]byte{{0, 0}, {2, 9}} {
		payload := []byte{'S', 'H', 'O', 'L', versions[0], 0, versions[1], 0}
		for _, rest := range []string{"", "short", strings.Repeat("long", 500)} {
			got, err := ParseHello(append(own(payload), rest...))
			want := Hello{MinVersion: uint16(versions[0]), MaxVersion: uint16(versions[1])}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("versions %v: got %+v, error %v", versions, got, err)
			}
		}
	}
}

func TestWelcomeRoundTrip(t *testing.T) {
	cases := []Welcome{{Version: 1, FrameLimit: MinFrameLimit, IdleTimeout: 1}, testWelcome(), testResumed(), {
		Version: 1, Resumed: true, Features: 1<<32 - 1, FrameLimit: 1<<32 - 1, StreamCredit: 1<<32 - 1,
		Window: 1<<32 - 1, Streams: 1<<32 - 1, WindowBytes: 1<<64 - 1, IdleTimeout: 1<<32 - 1, Received: 1<<64 - 1,
	}, {Version: 2}, {Version: 1, Draining: true, FrameLimit: MinFrameLimit, IdleTimeout: 1}}
	for _, extensions := range extensionCases {
		w := testWelcome()
		w.Extensions = extensions
		cases = append(cases, w)
	}
	for _, want := range cases {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendWelcome(dst, want) })
		got, err := ParseWelcome(payloadOf(t, wire, KindWelcome))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
}

func TestHandshakeTruncations(t *testing.T) {
	h := payloadOf(t, AppendHello(nil, testHello()), KindHello)
	checkTruncations(t, h, boundaries(0, helloSize, 4+5, 8), errOf(ParseHello))
	r := payloadOf(t, AppendHello(nil, testResume()), KindHello)
	checkTruncations(t, r, boundaries(helloSize+12, 4+ProofSize, 4+5, 8), errOf(ParseHello))
	w := payloadOf(t, AppendWelcome(nil, testWelcome()), KindWelcome)
	checkTruncations(t, w, boundaries(0, welcomeSize, 4+KeySize, 8), errOf(ParseWelcome))
}

// edited returns a copy of payload with other bytes at an offset.
func edited(payload []byte, offset int, other ...byte) []byte {
	payload = own(payload)
	copy(payload[offset:], other)
	return payload
}

func TestHandshakeMalformed(t *testing.T) {
	h := payloadOf(t, AppendHello(nil, Hello{MinVersion: 1, MaxVersion: 1, FrameLimit: MinFrameLimit}), KindHello)
	// made changes a hello that is right.
	made := func(change func(h *Hello)) []byte {
		h := testResume()
		change(&h)
		return AppendHello(nil, h)[HeaderSize:]
	}
	checkMalformed(t, errOf(ParseHello), map[string][]byte{
		"clock":                     made(func(h *Hello) { h.Clock = MaxClock + 1 }),
		"resume without a session":  made(func(h *Hello) { h.Session = ID{} }),
		"lane without a session":    made(func(h *Hello) { *h = testHello(); h.Session = ID{} }),
		"received without resume":   made(func(h *Hello) { h.Resume = false }),
		"resume without extensions": made(func(h *Hello) { h.Extensions = nil }),
		"resume without begun":      made(func(h *Hello) { h.Extensions = h.Extensions[1:] }),
		"resume without proof":      made(func(h *Hello) { h.Extensions = h.Extensions[:1] }),
		"short begun":               made(func(h *Hello) { h.Extensions[0].Value = h.Extensions[0].Value[:4] }),
		"long begun":                made(func(h *Hello) { h.Extensions[0].Value = make([]byte, 9) }),
		"empty begun":               made(func(h *Hello) { h.Extensions[0].Value = nil }),
		"short proof":               made(func(h *Hello) { h.Extensions[1].Value = h.Extensions[1].Value[:31] }),
		"empty credential":          made(func(h *Hello) { h.Extensions[2].Value = nil }),
		"long credential":           made(func(h *Hello) { h.Extensions[2].Value = make([]byte, CredentialLimit+1) }),
		"lane credit 0":             made(func(h *Hello) { h.Extensions[3] = CreditExtension(0) }),
		"lane credit of 8 bytes":    made(func(h *Hello) { h.Extensions[3].Value = make([]byte, 8) }),
		"begun twice":               made(func(h *Hello) { h.Extensions[1] = h.Extensions[0] }),
		"types the wrong way":       made(func(h *Hello) { h.Extensions[2], h.Extensions[4] = h.Extensions[4], h.Extensions[2] }),
		"frame limit":               edited(h, 12, 0xFF, 0x0F, 0, 0),
		"versions the wrong way":    edited(h, 4, 2, 0, 1, 0),
		"above the handshake":       append(own(h), make([]byte, HandshakeLimit)...),
		"half an extension header":  append(own(h), 1, 0, 0),
		"extension cut":             append(own(h), 1, 0, 2, 0, 'x'),
		"extension of 65535":        append(own(h), 1, 0, 0xFF, 0xFF),
		"second extension cut":      append(own(h), 1, 0, 1, 0, 'x', 1, 0, 1, 0),
	})
	w := payloadOf(t, AppendWelcome(nil, Welcome{Version: 1, FrameLimit: MinFrameLimit, IdleTimeout: 1}), KindWelcome)
	checkMalformed(t, errOf(ParseWelcome), map[string][]byte{
		"idle timeout":        edited(w, 36, 0, 0, 0, 0),
		"received anew":       edited(w, 56, 1),
		"short key":           append(own(w), 2, 0, 2, 0, 'x', 'y'),
		"frame limit":         edited(w, 12, 0, 0, 0, 0),
		"above the handshake": append(own(w), make([]byte, HandshakeLimit)...),
		"extension cut":       append(own(w), 1, 0, 2, 0, 'x'),
	})
}

func TestHandshakeNotShoal(t *testing.T) {
	for _, src := range [][]byte{
		nil, []byte("SHO"), []byte("shol"), []byte("GET / HTTP/1.1\r\n"), []byte("SHOM" + strings.Repeat("x", 100)),
	} {
		if _, err := ParseHello(src); !errors.Is(err, ErrNotShoal) {
			t.Errorf("hello %q: %v", src, err)
		}
		if _, err := ParseWelcome(src); !errors.Is(err, ErrNotShoal) {
			t.Errorf("welcome %q: %v", src, err)
		}
	}
	if _, err := ParseHello([]byte(Magic)); errors.Is(err, ErrNotShoal) || !errors.Is(err, ErrMalformed) {
		t.Errorf("the magic alone: %v", err)
	}
}

// The largest handshake is accepted, and what later versions may add is passed over.
func TestHandshakeTolerance(t *testing.T) {
	h := Hello{FrameLimit: MinFrameLimit, Extensions: []Extension{{Type: 0x40, Value: make([]byte, HandshakeLimit-helloSize-4)}}}
	largest := payloadOf(t, AppendHello(nil, h), KindHello)
	if _, err := ParseHello(largest); len(largest) != HandshakeLimit || err != nil {
		t.Errorf("hello of %d bytes: %v", len(largest), err)
	}
	later := payloadOf(t, AppendHello(nil, testResume()), KindHello)
	later[38], later[39] = later[38]|0xFE, 0xFF
	if got, err := ParseHello(later); err != nil || !reflect.DeepEqual(got, testResume()) {
		t.Errorf("unknown flags of a hello: %+v, %v", got, err)
	}
	later = payloadOf(t, AppendWelcome(nil, testResumed()), KindWelcome)
	later[6], later[7] = later[6]|0xFC, 0xFF
	if got, err := ParseWelcome(later); err != nil || !reflect.DeepEqual(got, testResumed()) {
		t.Errorf("unknown flags of a welcome: %+v, %v", got, err)
	}
}

func TestExtensionCritical(t *testing.T) {
	for typ, want := range map[uint16]bool{0: false, 1: false, 0x7FFF: false, 0x8000: true, 0xFFFF: true} {
		if got := (Extension{Type: typ}).Critical(); got != want {
			t.Errorf("type %#04x: critical %v", typ, got)
		}
	}
}

// However many extensions a handshake claims, what is allocated for them stays near its own size.
func TestExtensionsAllocation(t *testing.T) {
	payload := payloadOf(t, AppendHello(nil, Hello{MinVersion: Version, MaxVersion: Version, FrameLimit: MinFrameLimit}), KindHello)
	for i := range 1010 { // empty, of types that have no name
		payload = append(payload, byte(i), 0x40+byte(i>>8), 0, 0)
	}
	var h Hello
	var err error
	n := allocated(func() { h, err = ParseHello(payload) })
	if err != nil || len(h.Extensions) != 1010 || n > 1<<18 {
		t.Errorf("%d extensions, %d bytes allocated, error %v", len(h.Extensions), n, err)
	}
}

func TestGoodbyeRoundTrip(t *testing.T) {
	for _, want := range []Goodbye{
		{}, {Code: GoodbyeFull, Text: "8192 handlers"}, {Code: 0xFFFF, Text: "später"},
		{Code: GoodbyeSlow, Text: strings.Repeat("x", HandshakeLimit-goodbyeHead)},
		testFull(), testDraining(), {Extensions: []Extension{{0x8000, []byte("x")}}},
	} {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendGoodbye(dst, want) })
		if got, err := ParseGoodbye(payloadOf(t, wire, KindGoodbye)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
}

func TestGoodbyeCut(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", 5000), strings.Repeat("ä", 3000), "x" + strings.Repeat("ä", 3000), strings.Repeat("鯡", 2000),
		strings.Repeat("🐟", 2000), strings.Repeat("\x80", 5000),
	} {
		payload := payloadOf(t, AppendGoodbye(nil, Goodbye{Text: text}), KindGoodbye)
		got, err := ParseGoodbye(payload)
		if err != nil || !strings.HasPrefix(text, got.Text) || len(payload) <= HandshakeLimit-utf8.UTFMax || len(payload) > HandshakeLimit {
			t.Errorf("text of %d bytes: payload of %d, error %v", len(text), len(payload), err)
		}
		if utf8.ValidString(text) && !utf8.ValidString(got.Text) {
			t.Errorf("text cut within a character: it ends in %q", got.Text[len(got.Text)-4:])
		}
	}
}

func TestGoodbyeMalformed(t *testing.T) {
	full := AppendGoodbye(nil, testFull())[HeaderSize:]
	checkTruncations(t, full, boundaries(0, len(full)-8, 8), errOf(ParseGoodbye))
	checkMalformed(t, errOf(ParseGoodbye), map[string][]byte{
		"too long":              make([]byte, HandshakeLimit+1),
		"text beyond the end":   {1, 0, 2, 0, 'x'},
		"retry after of a byte": {1, 0, 0, 0, 5, 0, 1, 0, 1},
		"empty successor":       {2, 0, 0, 0, 6, 0, 0, 0},
		"long successor":        append([]byte{2, 0, 0, 0, 6, 0, 0, 1}, make([]byte, 256)...),
	})
}

// A goodbye of any length keeps its extensions.
func TestGoodbyeCutKeepsExtensions(t *testing.T) {
	long := testFull()
	long.Text = strings.Repeat("x", 2*HandshakeLimit)
	got, err := ParseGoodbye(payloadOf(t, AppendGoodbye(nil, long), KindGoodbye))
	if err != nil || got.RetryAfter() != 1500*time.Millisecond || len(got.Text) != HandshakeLimit-goodbyeHead-8 {
		t.Errorf("retry after %v, text of %d bytes, error %v", got.RetryAfter(), len(got.Text), err)
	}
}

func testFull() Goodbye {
	return Goodbye{Code: GoodbyeFull, Text: "no room", Extensions: []Extension{RetryAfterField(1500 * time.Millisecond)}}
}

func testDraining() Goodbye {
	return Goodbye{Code: GoodbyeDraining, Text: "gateway stops", Extensions: []Extension{{ExtensionSuccessor, []byte("tcp://127.0.0.1:1858")}}}
}

func TestHandshakeNeedsNoMoreThanItSays(t *testing.T) {
	payload := payloadOf(t, AppendHello(nil, Hello{FrameLimit: MinFrameLimit}), KindHello)
	checkAllocs(t, "ParseHello", func() { ParseHello(payload) })
	if got := binary.LittleEndian.Uint32(AppendHello(nil, Hello{})); got != helloSize {
		t.Errorf("hello of %d bytes, want %d", got, helloSize)
	}
	if got := binary.LittleEndian.Uint32(AppendWelcome(nil, Welcome{})); got != welcomeSize {
		t.Errorf("welcome of %d bytes, want %d", got, welcomeSize)
	}
}

// The proof covers what makes a hello another one than those before it, and the key is the welcome's alone.
func TestHelloProof(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	h := testResume()
	h.Extensions = []Extension{{ExtensionCredential, []byte("token")}}
	h.Prove(key, 42)
	payload := AppendHello(nil, h)[HeaderSize:]
	parsed, err := ParseHello(payload)
	if err != nil || !parsed.Proves(key) {
		t.Fatalf("the proof does not hold: %v", err)
	}
	mac := hmac.New(sha256.New, key) // as a stranger makes it of the text
	mac.Write(payload[20:38])
	mac.Write(payload[40:56])
	mac.Write(binary.LittleEndian.AppendUint64(nil, 42))
	credential := sha256.Sum256([]byte("token"))
	mac.Write(credential[:])
	if got := h.Extensions[1].Value; !bytes.Equal(got, mac.Sum(nil)) {
		t.Errorf("proof is %x", got)
	}
	for name, change := range map[string]func(h *Hello){
		"session":  func(h *Hello) { h.Session[0]++ },
		"lane":     func(h *Hello) { h.Lane++ },
		"received": func(h *Hello) { h.Received++ },
		"clock":    func(h *Hello) { h.Clock++ },
		"begun":    func(h *Hello) { h.Extensions = []Extension{BegunExtension(43), h.Extensions[1], h.Extensions[2]} },
		"no begun": func(h *Hello) { h.Extensions = h.Extensions[1:] },
		"no proof": func(h *Hello) { h.Extensions = []Extension{h.Extensions[0], h.Extensions[2]} },
		"another credential": func(h *Hello) {
			h.Extensions = []Extension{h.Extensions[0], h.Extensions[1], {ExtensionCredential, []byte("other")}}
		},
		"no credential": func(h *Hello) { h.Extensions = h.Extensions[:2] },
		"short":         func(h *Hello) { h.Extensions = []Extension{h.Extensions[0], {ExtensionProof, mac.Sum(nil)[:31]}} },
	} {
		other := h
		change(&other)
		if other.Proves(key) {
			t.Errorf("%s changed, and the proof holds", name)
		}
	}
	if h.Proves(make([]byte, KeySize)) {
		t.Error("it holds for another key")
	}
	w := testWelcome()
	w.Extensions = []Extension{{ExtensionKey, key}}
	if got, err := ParseWelcome(AppendWelcome(nil, w)[HeaderSize:]); err != nil || !bytes.Equal(got.Key(), key) {
		t.Errorf("key is %x, %v", got.Key(), err)
	}
}
