package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// certificate is one that expires then.
func certificate(t *testing.T, expires time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front.example"}, NotAfter: expires,
		DNSNames: []string{"front.example", "www.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// page answers one request with a page.
func page(conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		return
	}
	body := "<html><head>\n<Title lang=en> Racks &amp;\n power</title></head>" + request.Host
	answer := &http.Response{StatusCode: 203, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Server": {"unit/1"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	_ = answer.Write(conn)
}

// Each kind of service is told as what it is, and a port that says nothing is open all the same.
func TestServices(t *testing.T) {
	const host = "127.0.0.1"
	expires := time.Now().Add(100 * time.Hour).UTC().Truncate(time.Second)
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, expires)}}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	banner := listen(t, host, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "SSH-2.0-unit\r\n")
		silent(conn)
	})
	flood := listen(t, host, func(conn net.Conn) {
		chunk := bytes.Repeat([]byte{0xff}, 64<<10)
		for range 1000 {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	web := listen(t, host, page)
	secured := listen(t, host, func(conn net.Conn) { page(tls.Server(conn, config)) })
	mute := listen(t, host, silent)
	hangup := listen(t, host, func(net.Conn) {})

	all := ports(banner, flood, web, secured, hangup)
	results := scanned(t, Scan{Targets: host, Ports: all, Banner: true, TLS: true, HTTP: true}, Options{})
	if c := count(results); c != (Counts{Open: 5}) {
		t.Fatalf("%v", c)
	}
	if s := of(t, results, host, banner).Service; string(s.Banner) != "SSH-2.0-unit\r\n" || s.TLS != nil || s.HTTP != nil {
		t.Errorf("banner: %+v", s)
	}
	if s := of(t, results, host, flood).Service; len(s.Banner) == 0 || len(s.Banner) > MaxBanner {
		t.Errorf("flood: a banner of %d bytes", len(s.Banner))
	}
	if s := of(t, results, host, web).Service; s.TLS == nil || s.TLS.Error == "" || s.HTTP == nil || *s.HTTP != (HTTP{Status: 203, Server: "unit/1", Title: "Racks & power"}) {
		t.Errorf("web: %+v, %+v, %+v", s, s.TLS, s.HTTP)
	}
	s := of(t, results, host, secured).Service
	if s.TLS == nil || s.TLS.Version != "1.3" || !s.TLS.NotAfter.Equal(expires) || !slices.Equal(s.TLS.Names, []string{"front.example", "www.example", host}) {
		t.Errorf("secured: %+v", s.TLS)
	}
	if s.HTTP == nil || s.HTTP.Status != 203 || s.HTTP.Title != "Racks & power" {
		t.Errorf("secured: %+v", s.HTTP)
	}
	quick := scanned(t, Scan{Targets: host, Ports: ports(mute), Banner: true, TLS: true, HTTP: true, ServiceTimeoutMS: 100}, Options{})
	if s := of(t, quick, host, mute).Service; s == nil || s.TLS == nil || s.TLS.Error == "" || len(s.Banner) != 0 {
		t.Errorf("mute: %+v", s)
	}
	if s := of(t, results, host, hangup).Service; s == nil || s.HTTP == nil || s.HTTP.Error == "" {
		t.Errorf("hangup: %+v", s)
	}
	for _, r := range results { // the JSON form has all of it
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Result
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again, _ := json.Marshal(back); !bytes.Equal(again, text) {
			t.Errorf("%s became %s", text, again)
		}
	}
}

// An answer without an end is cut.
func TestServiceIsBounded(t *testing.T) {
	conn, other := net.Pipe()
	defer conn.Close()
	sent := make(chan int)
	go func() {
		defer other.Close()
		_, _ = io.ReadFull(other, make([]byte, 20)) // some of the request
		go io.Copy(io.Discard, other)
		n, _ := io.WriteString(other, "HTTP/1.1 200 OK\r\n\r\n<title>long")
		for {
			m, err := other.Write(make([]byte, 8<<10))
			if n += m; err != nil || n > 10*httpLimit {
				break
			}
		}
		sent <- n
	}()
	if h := askHTTP(conn, "::1"); h.Status != 200 || h.Title != "" || h.Error != "" {
		t.Errorf("%+v", h)
	}
	_ = conn.Close()
	if n := <-sent; n > httpLimit+64<<10 {
		t.Errorf("%d bytes were read", n)
	}
}

// A scan that is broken off while services are read ends at once.
func TestServiceEndsWithScan(t *testing.T) {
	read := make(chan struct{}, 10)
	port := listen(t, "127.0.0.1", func(conn net.Conn) {
		read <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-read
		cancel()
	}()
	for _, err := range Run(ctx, Scan{Targets: "127.0.0.1", Ports: ports(port), Banner: true, TLS: true, ServiceTimeoutMS: maxTimeout.Milliseconds()}, Options{}) {
		if err == nil {
			t.Error("a result")
		}
	}
}
