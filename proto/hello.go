package proto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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

// Extension is a type-length-value of a handshake. With bit 15 of Type set, a receiver that does not know it refuses.
type Extension struct {
	Type  uint16
	Value []byte
}

// Critical reports whether a receiver that does not know the type must refuse.
func (e Extension) Critical() bool { return e.Type&(1<<15) != 0 }

// ExtensionBegun is the type of the extension by which a hello names the beginning of its lane: u64, the clock of the
// hello whose welcome did not say resumed.
const ExtensionBegun = 1

// BegunExtension makes the extension.
func BegunExtension(clock uint64) Extension {
	return Extension{Type: ExtensionBegun, Value: binary.LittleEndian.AppendUint64(nil, clock)}
}

// Begun returns what the hello says of the beginning of its lane, and whether it says it.
func (h Hello) Begun() (clock uint64, ok bool) {
	for _, e := range h.Extensions {
		if e.Type == ExtensionBegun && len(e.Value) == 8 {
			return binary.LittleEndian.Uint64(e.Value), true
		}
	}
	return 0, false
}

// ExtensionKey is the type of the extension by which the welcome that begins a lane gives its client the key of the lane;
// ExtensionProof that by which a hello proves to be of who has it.
const (
	ExtensionKey   = 2
	ExtensionProof = 3
)

// KeySize is the size in bytes of a lane's key, ProofSize that of a proof.
const (
	KeySize   = 32
	ProofSize = sha256.Size
)

// MaxClock is the highest clock of a hello.
const MaxClock = 1 << 42

// Key returns the key that the welcome gives, nil if it gives none. It aliases the input.
func (w Welcome) Key() []byte {
	for _, e := range w.Extensions {
		if e.Type == ExtensionKey && len(e.Value) == KeySize {
			return e.Value
		}
	}
	return nil
}

// Prove appends to the hello's extensions by which hello its lane began, and the proof of the lane's key. All other fields
// are set before.
func (h *Hello) Prove(key []byte, begun uint64) {
	h.Extensions = append(h.Extensions, BegunExtension(begun), Extension{Type: ExtensionProof, Value: h.proof(key, begun)})
}

// Proves reports whether the hello comes from who has the key.
func (h Hello) Proves(key []byte) bool {
	begun, named := h.Begun()
	if !named {
		return false
	}
	for _, e := range h.Extensions {
		if e.Type == ExtensionProof {
			return hmac.Equal(e.Value, h.proof(key, begun))
		}
	}
	return false
}

// proof returns the HMAC of what makes this hello another one than all others.
func (h Hello) proof(key []byte, begun uint64) []byte {
	m := append(make([]byte, 0, 42), h.Session[:]...)
	m = binary.LittleEndian.AppendUint16(m, h.Lane)
	m = binary.LittleEndian.AppendUint64(m, h.Received)
	m = binary.LittleEndian.AppendUint64(m, h.Clock)
	m = binary.LittleEndian.AppendUint64(m, begun)
	mac := hmac.New(sha256.New, key)
	mac.Write(m)
	return mac.Sum(nil)
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
	var err error
	h.Extensions, err = parseExtensions(src[helloSize:])
	return h, err
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

// ParseWelcome reads the payload of a welcome. Unknown flag bits are ignored.
func ParseWelcome(src []byte) (Welcome, error) {
	if err := checkMagic(src, welcomeSize); err != nil {
		return Welcome{}, err
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
	if w.FrameLimit < MinFrameLimit {
		return Welcome{}, malformed("frame limit %d below %d", w.FrameLimit, MinFrameLimit)
	}
	var err error
	w.Extensions, err = parseExtensions(src[welcomeSize:])
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

// Goodbye is the last frame of a connection.
type Goodbye struct {
	Code GoodbyeCode
	Text string
}

// AppendGoodbye appends a goodbye frame; a text that does not fit is cut.
func AppendGoodbye(dst []byte, g Goodbye) []byte {
	start := len(dst)
	dst = BeginFrame(dst, KindGoodbye)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Code))
	dst = append(dst, cutText(g.Text, HandshakeLimit-2)...)
	EndFrame(dst, start)
	return dst
}

// ParseGoodbye reads the payload of a goodbye.
func ParseGoodbye(src []byte) (Goodbye, error) {
	if len(src) < 2 || len(src) > HandshakeLimit {
		return Goodbye{}, malformed("goodbye of %d bytes", len(src))
	}
	return Goodbye{Code: GoodbyeCode(binary.LittleEndian.Uint16(src)), Text: string(src[2:])}, nil
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

func appendExtensions(dst []byte, extensions []Extension) []byte {
	for _, e := range extensions {
		dst = binary.LittleEndian.AppendUint16(dst, e.Type)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(e.Value)))
		dst = append(dst, e.Value...)
	}
	return dst
}

func parseExtensions(src []byte) ([]Extension, error) {
	var extensions []Extension
	for len(src) > 0 {
		if len(src) < 4 {
			return nil, malformed("extension header of %d bytes", len(src))
		}
		size := int(binary.LittleEndian.Uint16(src[2:]))
		if len(src)-4 < size {
			return nil, malformed("extension of %d bytes, %d left", size, len(src)-4)
		}
		extensions = append(extensions, Extension{binary.LittleEndian.Uint16(src), src[4 : 4+size : 4+size]})
		src = src[4+size:]
	}
	return extensions, nil
}

func bit(set bool, mask uint16) uint16 {
	if set {
		return mask
	}
	return 0
}
