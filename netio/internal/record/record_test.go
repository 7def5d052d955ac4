package record

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

const patience = 60 * time.Second

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pair returns both sides of a connection after their handshake, and the sockets under them: what the accepting one gets is the test's
// to read and to hand over.
func pair(t testing.TB) (c *Client, s *Conn, below net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialled := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			c, err = Dial(ctx, conn, &tls.Config{InsecureSkipVerify: true})
		}
		dialled <- err
	}()
	below, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() })
	s, err = Accept(ctx, below, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	if err = errors.Join(err, <-dialled); err != nil {
		t.Fatal(err)
	}
	_ = below.SetDeadline(time.Now().Add(patience))
	_ = c.Conn.SetDeadline(time.Now().Add(patience))
	return c, s, below
}

// sealedBy returns the records that the dialling side makes of some bodies, one write each.
func sealedBy(t testing.TB, c *Client, below net.Conn, bodies ...[]byte) (all []byte) {
	t.Helper()
	for _, body := range bodies {
		go func() { _, _ = c.Write(body) }()
		for plain := 0; plain < len(body); {
			header := make([]byte, headerSize)
			if _, err := io.ReadFull(below, header); err != nil {
				t.Fatal(err)
			}
			payload := make([]byte, int(header[3])<<8|int(header[4]))
			if _, err := io.ReadFull(below, payload); err != nil {
				t.Fatal(err)
			}
			all = append(append(all, header...), payload...)
			plain += len(payload) - 17 // the type and the tag
		}
	}
	return all
}

// Records may arrive in any pieces. This rests on crypto/tls going on after a temporary error.
func TestOpenTakesEverySplit(t *testing.T) {
	bodies := [][]byte{[]byte("one"), bytes.Repeat([]byte("x"), 300), []byte("three")}
	want := bytes.Join(bodies, nil)
	size := len(want) + len(bodies)*(headerSize+17)
	c, s, below := pair(t)
	for split := 1; split < size; split += 7 {
		src := sealedBy(t, c, below, bodies...)
		if len(src) != size {
			t.Fatalf("%d bytes, %d expected", len(src), size)
		}
		var got []byte
		deliver := func(p []byte) error { got = append(got, p...); return nil }
		for _, part := range [][]byte{src[:split], src[split:]} {
			if err := s.Open(bytes.Clone(part), deliver); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) || s.part != nil {
			t.Fatalf("split at %d: %q", split, got)
		}
	}
}

func TestOpenByteByByteAndLarge(t *testing.T) {
	c, s, below := pair(t)
	body := make([]byte, 200_000)
	_, _ = rand.Read(body)
	src := sealedBy(t, c, below, body[:3000], body[3000:])
	var got []byte
	deliver := func(p []byte) error { got = append(got, p...); return nil }
	for i := range 5000 {
		if err := s.Open(src[i:i+1], deliver); err != nil {
			t.Fatal(err)
		}
	}
	if s.part == nil {
		t.Error("nothing of a record is kept")
	}
	turns := 0
	if err := s.Open(nil, func(p []byte) error { turns++; return nil }); err != nil || turns != 1 {
		t.Errorf("a turn while a record is not all there: %d calls, %v", turns, err)
	}
	if err := s.Open(src[5000:], deliver); err != nil || !bytes.Equal(got, body) || s.part != nil {
		t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
	}
}

func TestSealIsReadByTheOtherSide(t *testing.T) {
	c, s, below := pair(t)
	body := make([]byte, 300_000)
	_, _ = rand.Read(body)
	pieces := [][]byte{body[:10], nil, body[10:70_000], body[70_000:]}
	go func() {
		for total := 0; ; {
			n, sealed, err := s.Seal(pieces, total)
			if err != nil || sealed == nil {
				return
			}
			_, _ = below.Write(sealed.B)
			sealed.Free()
			total += n
		}
	}()
	got := make([]byte, len(body))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
		t.Error(err)
	}
}

func TestOpenRefusesWhatIsNoRecord(t *testing.T) {
	for _, src := range [][]byte{
		{23, 3, 3, 0xff, 0xff, 0},                            // too long
		append([]byte{23, 3, 3, 0, 20}, make([]byte, 20)...), // not sealed with the key
	} {
		_, s, _ := pair(t)
		if err := s.Open(src, func(p []byte) error {
			if len(p) > 0 {
				t.Errorf("%q is delivered", p)
			}
			return nil
		}); err == nil {
			t.Errorf("%x is taken", src)
		}
	}
}
