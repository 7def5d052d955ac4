package proto

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Magic starts the payload of hello and welcome.
const Magic = "SHOL"

// Features that a side can do, as bits.
const (
	FeatureS2   = 1 << 0
	FeatureZstd = 1 << 1
)

// ID is a session's id or a gateway's life.
type ID [16]byte

// Hello is what a client says first. Extensions, where present, are appended as they are, so the caller keeps the
// payload within HandshakeLimit; when parsed they alias the input.
type Hello struct {
	MinVersion, MaxVersion uint16
	Features               uint32
	FrameLimit             uint32
	StreamCredit           uint32
	Session                ID
	Lane                   uint16
	Resume                 bool
	Received               uint64
	Clock                  uint64
	Extensions             []Extension
}

// Welcome is what a gateway answers.
type Welcome struct {
	Version      uint16
	Resumed      bool
	Draining     bool
	Features     uint32
	FrameLimit   uint32
	StreamCredit uint32
	Window       uint32
	Streams      uint32
	WindowBytes  uint64
	IdleTimeout  uint32 // milliseconds
	Life         ID
	Received     uint64
	Extensions   []Extension
}

const (
	helloSize   = 56
	welcomeSize = 64

	helloResume     = 1 << 0
	welcomeResumed  = 1 << 0
	welcomeDraining = 1 << 1
)

// AppendHello appends a hello frame.
func AppendHello(dst []byte, h Hello) []byte {
	start := len(dst)
	dst = BeginFrame(dst, KindHello)
	dst = append(dst, Magic...)
	dst = binary.LittleEndian.AppendUint16(dst, h.MinVersion)
	dst = binary.LittleEndian.AppendUint16(dst, h.MaxVersion)
	dst = binary.LittleEndian.AppendUint32(dst, h.Features)
	dst = binary.LittleEndian.AppendUint32(dst, h.FrameLimit)
	dst = binary.LittleEndian.AppendUint32(dst, h.StreamCredit)
	dst = append(dst, h.Session[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, h.Lane)
	dst = binary.LittleEndian.AppendUint16(dst, bit(h.Resume, helloResume))
	dst = binary.LittleEndian.AppendUint64(dst, h.Received)
	dst = binary.LittleEndian.AppendUint64(dst, h.Clock)
	dst = appendExtensions(dst, h.Extensions)
	EndFrame(dst, start)
	return dst
}

// ParseHello reads the payload of a hello. Unknown flag bits are ignored. Of a client whose versions do not include
// ours, only the versions are read: the rest may look otherwise.
func ParseHello(src []byte) (Hello, error) {
	if err := checkMagic(src, 8); err != nil {
		return Hello{}, err
	}
	h := Hello{MinVersion: binary.LittleEndian.Uint16(src[4:]), MaxVersion: binary.LittleEndian.Uint16(src[6:])}
	if h.MinVersion <= h.MaxVersion && (h.MinVersion > Version || h.MaxVersion < Version) {
		return h, nil
	}
	if err := checkMagic(src, helloSize); err != nil {
		return Hello{}, err
	}
	h = Hello{
		MinVersion:   h.MinVersion,
		MaxVersion:   h.MaxVersion,
		Features:     binary.LittleEndian.Uint32(src[8:]),
		FrameLimit:   binary.LittleEndian.Uint32(src[12:]),
		StreamCredit: binary.LittleEndian.Uint32(src[16:]),
		Session:      ID(src[20:36]),
		Lane:         binary.LittleEndian.Uint16(src[36:]),
		Resume:       binary.LittleEndian.Uint16(src[38:])&helloResume != 0,
		Received:     binary.LittleEndian.Uint64(src[40:]),
		Clock:        binary.LittleEndian.Uint64(src[48:]),
	}
	if h.FrameLimit < MinFrameLimit {
		return Hello{}, malformed("frame limit %d below %d", h.FrameLimit, MinFrameLimit)
	}
	if h.MinVersion > h.MaxVersion {
		return Hello{}, malformed("versions %d to %d", h.MinVersion, h.MaxVersion)
	}
	if h.Clock > MaxClock {
		return Hello{}, malformed("clock %d of the hello", h.Clock)
	}
	var err error
	if h.Extensions, err = parseExtensions(src[helloSize:], KindHello); err != nil {
		return Hello{}, err
	}
	return h, h.checkLane()
}

// checkLane says what does not fit together of what a hello says of its lane.
func (h Hello) checkLane() error {
	session := h.Session != ID{}
	_, begun := h.Begun()
	proof := find(h.Extensions, ExtensionProof) != nil
	switch {
	case begun != proof:
		return malformed("hello with only one of begun and proof")
	case h.Resume && !proof:
		return malformed("resume without a proof")
	case proof && !session:
		return malformed("proof without a session")
	case !session && h.Lane != 0:
		return malformed("lane %d without a session", h.Lane)
	case !h.Resume && h.Received != 0:
		return malformed("received count %d without resume", h.Received)
	}
	return nil
}

// AppendWelcome appends a welcome frame.
func AppendWelcome(dst []byte, w Welcome) []byte {
	start := len(dst)
	dst = BeginFrame(dst, KindWelcome)
	dst = append(dst, Magic...)
	dst = binary.LittleEndian.AppendUint16(dst, w.Version)
	dst = binary.LittleEndian.AppendUint16(dst, bit(w.Resumed, welcomeResumed)|bit(w.Draining, welcomeDraining))
	dst = binary.LittleEndian.AppendUint32(dst, w.Features)
	dst = binary.LittleEndian.AppendUint32(dst, w.FrameLimit)
	dst = binary.LittleEndian.AppendUint32(dst, w.StreamCredit)
	dst = binary.LittleEndian.AppendUint32(dst, w.Window)
	dst = binary.LittleEndian.AppendUint32(dst, w.Streams)
	dst = binary.LittleEndian.AppendUint64(dst, w.WindowBytes)
	dst = binary.LittleEndian.AppendUint32(dst, w.IdleTimeout)
	dst = append(dst, w.Life[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, w.Received)
	dst = appendExtensions(dst, w.Extensions)
	EndFrame(dst, start)
	return dst
}

// ParseWelcome reads the payload of a welcome. Unknown flag bits are ignored. Of a welcome of another version than ours, only
// the version is read.
func ParseWelcome(src []byte) (Welcome, error) {
	if err := checkMagic(src, welcomeSize); err != nil {
		return Welcome{}, err
	}
	if version := binary.LittleEndian.Uint16(src[4:]); version != Version {
		return Welcome{Version: version}, nil
	}
	flags := binary.LittleEndian.Uint16(src[6:])
	w := Welcome{
		Version:      binary.LittleEndian.Uint16(src[4:]),
		Resumed:      flags&welcomeResumed != 0,
		Draining:     flags&welcomeDraining != 0,
		Features:     binary.LittleEndian.Uint32(src[8:]),
		FrameLimit:   binary.LittleEndian.Uint32(src[12:]),
		StreamCredit: binary.LittleEndian.Uint32(src[16:]),
		Window:       binary.LittleEndian.Uint32(src[20:]),
		Streams:      binary.LittleEndian.Uint32(src[24:]),
		WindowBytes:  binary.LittleEndian.Uint64(src[28:]),
		IdleTimeout:  binary.LittleEndian.Uint32(src[36:]),
		Life:         ID(src[40:56]),
		Received:     binary.LittleEndian.Uint64(src[56:]),
	}
	switch {
	case w.FrameLimit < MinFrameLimit:
		return Welcome{}, malformed("frame limit %d below %d", w.FrameLimit, MinFrameLimit)
	case w.IdleTimeout == 0:
		return Welcome{}, malformed("idle timeout 0")
	case !w.Resumed && w.Received != 0:
		return Welcome{}, malformed("received count %d, and not resumed", w.Received)
	}
	var err error
	w.Extensions, err = parseExtensions(src[welcomeSize:], KindWelcome)
	return w, err
}

// GoodbyeCode says why a connection ends.
type GoodbyeCode uint16

// The reasons of a goodbye.
const (
	GoodbyeDone       GoodbyeCode = 0
	GoodbyeFull       GoodbyeCode = 1
	GoodbyeDraining   GoodbyeCode = 2
	GoodbyeVersion    GoodbyeCode = 3
	GoodbyeNotAllowed GoodbyeCode = 4
	GoodbyeMalformed  GoodbyeCode = 5
	GoodbyeIdle       GoodbyeCode = 6
	GoodbyeSuperseded GoodbyeCode = 7
	GoodbyeSlow       GoodbyeCode = 8
	GoodbyeInternal   GoodbyeCode = 9
)

var goodbyeNames = [...]string{"done", "full", "draining", "version", "not allowed", "malformed", "idle", "superseded", "slow", "internal"}

func (c GoodbyeCode) String() string {
	if int(c) < len(goodbyeNames) {
		return goodbyeNames[c]
	}
	return fmt.Sprintf("goodbye code %d", uint16(c))
}

// Goodbye is the last frame of a connection. Extensions are as those of Hello.
type Goodbye struct {
	Code       GoodbyeCode
	Text       string
	Extensions []Extension
}

// goodbyeHead is the size of what stands before the text of a goodbye.
const goodbyeHead = 4

// RetryAfter returns how long the peer had better wait before it connects again; 0: it is not said.
func (g Goodbye) RetryAfter() time.Duration { return millis(find(g.Extensions, ExtensionRetryAfter)) }

// Successor returns the URL of the gateway to go to; empty: none is named.
func (g Goodbye) Successor() string { return string(find(g.Extensions, ExtensionSuccessor)) }

// AppendGoodbye appends a goodbye frame; a text that does not fit is cut.
func AppendGoodbye(dst []byte, g Goodbye) []byte {
	start := len(dst)
	dst = BeginFrame(dst, KindGoodbye)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Code))
	text := cutText(g.Text, HandshakeLimit-goodbyeHead-extensionsSize(g.Extensions))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	dst = append(dst, text...)
	dst = appendExtensions(dst, g.Extensions)
	EndFrame(dst, start)
	return dst
}

// ParseGoodbye reads the payload of a goodbye. Extensions alias src.
func ParseGoodbye(src []byte) (Goodbye, error) {
	if len(src) < goodbyeHead || len(src) > HandshakeLimit {
		return Goodbye{}, malformed("goodbye of %d bytes", len(src))
	}
	size := int(binary.LittleEndian.Uint16(src[2:]))
	if len(src)-goodbyeHead < size {
		return Goodbye{}, malformed("goodbye with a text of %d bytes, %d left", size, len(src)-goodbyeHead)
	}
	end := goodbyeHead + size
	extensions, err := parseExtensions(src[end:], KindGoodbye)
	if err != nil {
		return Goodbye{}, err
	}
	return Goodbye{Code: GoodbyeCode(binary.LittleEndian.Uint16(src)), Text: string(src[goodbyeHead:end]), Extensions: extensions}, nil
}

func checkMagic(src []byte, size int) error {
	if len(src) < len(Magic) || string(src[:len(Magic)]) != Magic {
		return ErrNotShoal
	}
	if len(src) < size || len(src) > HandshakeLimit {
		return malformed("handshake of %d bytes", len(src))
	}
	return nil
}

func bit(set bool, mask uint16) uint16 {
	if set {
		return mask
	}
	return 0
}
