package proto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Extension is a type-length-value of a handshake or a goodbye, or a field of a frame. With bit 15 of Type set, a receiver
// that does not know it refuses.
type Extension struct {
	Type  uint16
	Value []byte
}

// Critical reports whether a receiver that does not know the type must refuse.
func (e Extension) Critical() bool { return e.Type&(1<<15) != 0 }

// The types of extensions. Doc.go says what their values are.
const (
	ExtensionBegun      = 1 // hello
	ExtensionKey        = 2 // welcome
	ExtensionProof      = 3 // hello
	ExtensionCredential = 4 // hello
	ExtensionRetryAfter = 5 // goodbye
	ExtensionSuccessor  = 6 // goodbye
	ExtensionCredit     = 7 // hello and welcome
)

// Sizes of the values of extensions, in bytes: KeySize of a lane's key, ProofSize of a proof, the others at most.
const (
	KeySize         = 32
	ProofSize       = sha256.Size
	CredentialLimit = 2048
	SuccessorLimit  = 255
)

// MaxClock is the highest clock of a hello, and the highest deadline.
const MaxClock = 1 << 42

// extensionSizes returns the sizes that the value of an extension may have; false means that the table of extensions does not
// name its type for the frame.
func extensionSizes(in Kind, t uint16) (least, most int, known bool) {
	switch {
	case in == KindHello && t == ExtensionBegun:
		return 8, 8, true
	case in == KindWelcome && t == ExtensionKey:
		return KeySize, KeySize, true
	case in == KindHello && t == ExtensionProof:
		return ProofSize, ProofSize, true
	case in == KindHello && t == ExtensionCredential:
		return 1, CredentialLimit, true
	case in == KindGoodbye && t == ExtensionRetryAfter:
		return 4, 4, true
	case in == KindGoodbye && t == ExtensionSuccessor:
		return 1, SuccessorLimit, true
	case in != KindGoodbye && t == ExtensionCredit:
		return 4, 4, true
	}
	return 0, 0, false
}

// find returns the value of the extension of a type, nil if there is none.
func find(extensions []Extension, t uint16) []byte {
	for _, e := range extensions {
		if e.Type == t {
			return e.Value
		}
	}
	return nil
}

// BegunExtension names the beginning of a lane: the clock of the hello whose welcome did not say resumed.
func BegunExtension(clock uint64) Extension {
	return Extension{Type: ExtensionBegun, Value: binary.LittleEndian.AppendUint64(nil, clock)}
}

// CreditExtension names the credit of a lane as a whole, above 0.
func CreditExtension(bytes uint32) Extension {
	return Extension{Type: ExtensionCredit, Value: binary.LittleEndian.AppendUint32(nil, bytes)}
}

// Begun returns what the hello says of the beginning of its lane, and whether it says it.
func (h Hello) Begun() (clock uint64, ok bool) {
	if v := find(h.Extensions, ExtensionBegun); len(v) == 8 {
		return binary.LittleEndian.Uint64(v), true
	}
	return 0, false
}

// Credential returns that of the client, nil if it gives none. It aliases the input.
func (h Hello) Credential() []byte { return find(h.Extensions, ExtensionCredential) }

// LaneCredit returns the credit that the gateway has for the lane as a whole; false: only that of the streams counts.
func (h Hello) LaneCredit() (bytes uint32, ok bool) { return laneCredit(h.Extensions) }

// LaneCredit returns the credit that the client has for the lane as a whole; false: only that of the streams counts.
func (w Welcome) LaneCredit() (bytes uint32, ok bool) { return laneCredit(w.Extensions) }

func laneCredit(extensions []Extension) (bytes uint32, ok bool) {
	if v := find(extensions, ExtensionCredit); len(v) == 4 {
		return binary.LittleEndian.Uint32(v), true
	}
	return 0, false
}

// Key returns the key that the welcome gives, nil if it gives none. It aliases the input.
func (w Welcome) Key() []byte { return find(w.Extensions, ExtensionKey) }

// Prove adds to the hello by which one its lane began, and the proof of the lane's key and of the hello's credential. All
// other fields are set before.
func (h *Hello) Prove(key []byte, begun uint64) {
	proven := []Extension{BegunExtension(begun), {Type: ExtensionProof, Value: h.proof(key, begun)}}
	for _, e := range h.Extensions {
		if e.Type > ExtensionProof {
			proven = append(proven, e)
		}
	}
	h.Extensions = proven
}

// Proves reports whether the hello comes from a client that has the key.
func (h Hello) Proves(key []byte) bool {
	begun, named := h.Begun()
	proof := find(h.Extensions, ExtensionProof)
	return named && proof != nil && hmac.Equal(proof, h.proof(key, begun))
}

// proof returns the HMAC of what makes this hello another one than all others.
func (h Hello) proof(key []byte, begun uint64) []byte {
	credential := sha256.Sum256(h.Credential())
	m := append(make([]byte, 0, 74), h.Session[:]...)
	m = binary.LittleEndian.AppendUint16(m, h.Lane)
	m = binary.LittleEndian.AppendUint64(m, h.Received)
	m = binary.LittleEndian.AppendUint64(m, h.Clock)
	m = binary.LittleEndian.AppendUint64(m, begun)
	m = append(m, credential[:]...)
	mac := hmac.New(sha256.New, key)
	mac.Write(m)
	return mac.Sum(nil)
}

func extensionsSize(extensions []Extension) int {
	size := 0
	for _, e := range extensions {
		size += extensionHead + len(e.Value)
	}
	return size
}

// extensionHead is the size of the type and the length before a value.
const extensionHead = 4

func appendExtensions(dst []byte, extensions []Extension) []byte {
	for _, e := range extensions {
		dst = binary.LittleEndian.AppendUint16(dst, e.Type)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(e.Value)))
		dst = append(dst, e.Value...)
	}
	return dst
}

// nextExtension reads the extension at the start of src, which is not empty. Its type must be above the last, which it
// becomes.
func nextExtension(src []byte, last *int) (e Extension, rest []byte, err error) {
	if len(src) < extensionHead {
		return e, nil, malformed("extension header of %d bytes", len(src))
	}
	size := int(binary.LittleEndian.Uint16(src[2:]))
	if len(src)-extensionHead < size {
		return e, nil, malformed("extension of %d bytes, %d left", size, len(src)-extensionHead)
	}
	end := extensionHead + size
	e = Extension{binary.LittleEndian.Uint16(src), src[extensionHead:end:end]}
	if int(e.Type) <= *last {
		return e, nil, malformed("extension %#x after %#x", e.Type, *last)
	}
	*last = int(e.Type)
	return e, src[end:], nil
}

// parseExtensions reads the extensions of a handshake or a goodbye.
func parseExtensions(src []byte, in Kind) ([]Extension, error) {
	var extensions []Extension
	for last := -1; len(src) > 0; {
		e, rest, err := nextExtension(src, &last)
		if err != nil {
			return nil, err
		}
		least, most, known := extensionSizes(in, e.Type)
		if known && (len(e.Value) < least || len(e.Value) > most) {
			return nil, malformed("extension %d of %d bytes", e.Type, len(e.Value))
		}
		if known && e.Type == ExtensionCredit && binary.LittleEndian.Uint32(e.Value) == 0 {
			return nil, malformed("lane credit 0")
		}
		extensions = append(extensions, e)
		src = rest
	}
	return extensions, nil
}
