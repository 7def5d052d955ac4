package sshtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Fault is what is wrong with a device.
type Fault string

// The faults. The zero Fault is none.
const (
	SilentBanner   Fault = "silent banner"   // it takes the connection and says nothing
	RefusesAuth    Fault = "refuses auth"    // it lets nobody in
	RefusesSession Fault = "refuses session" // it opens no session
	SilentSession  Fault = "silent session"  // it does not answer to the opening of a session
	SilentExec     Fault = "silent exec"     // it does not answer to a command
	RefusesExec    Fault = "refuses exec"    // it takes no command
	DiesInCommand  Fault = "dies in command" // it answers a part, and the connection ends
	GoesSilent     Fault = "goes silent"     // it answers a part, and then reads and writes nothing more
	NoStatus       Fault = "no status"       // it ends the session without an exit status
	IgnoresSignals Fault = "ignores signals" // it takes no signals
)

// Device is an ssh server on 127.0.0.1 that lets everybody in and knows a few commands:
//
//	echo WORDS   answers the words
//	exit N       exits with N
//	cat          answers its input
//	hang         writes up, then waits for a signal or the end of the channel
type Device struct {
	Host, Port  string
	HostKey     Key
	MaxSessions int // of one connection; 0: any number

	Connections atomic.Int64 // made so far
	Sessions    atomic.Int64 // opened so far

	fault    Fault
	listener net.Listener
	end      chan struct{} // closed with the test
	work     sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// StartDevice starts a device that ends with the test.
func StartDevice(t testing.TB, fault Fault, maxSessions int) *Device {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{HostKey: NewKey(t, t.TempDir(), "ed25519"), MaxSessions: maxSessions, fault: fault, listener: l, end: make(chan struct{}), conns: map[net.Conn]bool{}}
	d.Host, d.Port, _ = net.SplitHostPort(l.Addr().String())
	d.work.Go(d.accept)
	t.Cleanup(func() {
		close(d.end)
		_ = l.Close()
		d.mu.Lock()
		for c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.work.Wait()
	})
	return d
}

// Target is how a request names the device.
func (d *Device) Target() string { return net.JoinHostPort(d.Host, d.Port) }

// KnownHosts is the line of the device.
func (d *Device) KnownHosts() string {
	return fmt.Sprintf("[%s]:%s %s\n", d.Host, d.Port, d.HostKey.Line())
}

func (d *Device) accept() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.Connections.Add(1)
		d.mu.Lock()
		d.conns[conn] = true
		d.mu.Unlock()
		d.work.Go(func() {
			d.serve(conn)
			_ = conn.Close()
			d.mu.Lock()
			delete(d.conns, conn)
			d.mu.Unlock()
		})
	}
}

func (d *Device) serve(conn net.Conn) {
	if d.fault == SilentBanner {
		<-d.end
		return
	}
	config := &ssh.ServerConfig{NoClientAuth: d.fault != RefusesAuth, PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, errors.New("nobody")
	}}
	config.AddHostKey(d.HostKey.Signer)
	pausing := &pausingConn{Conn: conn, end: d.end}
	server, channels, requests, err := ssh.NewServerConn(pausing, config)
	if err != nil {
		return
	}
	d.work.Go(func() { ssh.DiscardRequests(requests) })
	var open atomic.Int64
	for c := range channels {
		if c.ChannelType() == "direct-tcpip" {
			d.forward(c)
			continue
		}
		d.Sessions.Add(1)
		switch {
		case d.fault == SilentSession:
			continue
		case d.fault == RefusesSession, d.MaxSessions > 0 && open.Load() >= int64(d.MaxSessions):
			_ = c.Reject(ssh.ResourceShortage, "no more sessions")
			continue
		}
		open.Add(1)
		channel, requests, err := c.Accept()
		if err != nil {
			continue
		}
		d.work.Go(func() {
			d.session(server, pausing, channel, requests)
			open.Add(-1)
			_ = channel.Close()
		})
	}
}

// pausingConn can stop reading and writing.
type pausingConn struct {
	net.Conn
	silent atomic.Bool
	end    chan struct{}
}

func (c *pausingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.silent.Load() {
		<-c.end
	}
	return n, err
}

func (c *pausingConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		<-c.end
	}
	return c.Conn.Write(p)
}

// session serves one session: its first command.
func (d *Device) session(server *ssh.ServerConn, conn *pausingConn, channel ssh.Channel, requests <-chan *ssh.Request) {
	signals := make(chan string, 4)
	var command string
	for r := range requests {
		if r.Type == "exec" && d.fault != RefusesExec {
			if d.fault == SilentExec {
				continue
			}
			var exec struct{ Command string }
			_ = ssh.Unmarshal(r.Payload, &exec)
			command = exec.Command
			_ = r.Reply(true, nil)
			break
		}
		_ = r.Reply(r.Type == "env", nil)
	}
	if command == "" {
		return
	}
	d.work.Go(func() {
		defer close(signals)
		for r := range requests {
			var sent struct{ Signal string }
			if r.Type == "signal" && ssh.Unmarshal(r.Payload, &sent) == nil && d.fault != IgnoresSignals {
				select {
				case signals <- sent.Signal:
				default:
				}
			}
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
	})
	switch d.fault {
	case DiesInCommand:
		_, _ = io.WriteString(channel, "partial\n")
		_ = server.Close()
		return
	case GoesSilent:
		_, _ = io.WriteString(channel, "partial\n")
		conn.silent.Store(true)
		<-d.end
		return
	case NoStatus:
		_, _ = io.WriteString(channel, "partial\n")
		return
	}
	d.run(channel, command, signals)
}

// run runs a command and tells how it ended.
func (d *Device) run(channel ssh.Channel, command string, signals <-chan string) {
	status := struct{ Status uint32 }{}
	word, rest, _ := strings.Cut(command, " ")
	switch word {
	case "echo":
		_, _ = io.WriteString(channel, rest+"\n")
	case "exit":
		_, _ = fmt.Sscan(rest, &status.Status)
	case "cat":
		_, _ = io.Copy(channel, channel)
	case "hang":
		_, _ = io.WriteString(channel, "up\n")
		select {
		case signal, ok := <-signals:
			if ok {
				_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
					Signal string
					Core   bool
					Error  string
					Lang   string
				}{Signal: signal}))
			}
		case <-d.end:
		}
		return
	default:
		_, _ = io.WriteString(channel.Stderr(), word+": not found\n")
		status.Status = 127
	}
	_ = channel.CloseWrite()
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
}

// forward connects a channel with where it leads, for devices that are jump hosts.
func (d *Device) forward(c ssh.NewChannel) {
	var to struct {
		Host string
		Port uint32
		From string
		Orig uint32
	}
	if err := ssh.Unmarshal(c.ExtraData(), &to); err != nil {
		_ = c.Reject(ssh.ConnectionFailed, "malformed")
		return
	}
	d.work.Go(func() {
		conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
		if err != nil {
			_ = c.Reject(ssh.ConnectionFailed, "connect failed")
			return
		}
		defer conn.Close()
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		defer channel.Close()
		d.work.Go(func() { ssh.DiscardRequests(requests) })
		d.work.Go(func() {
			_, _ = io.Copy(channel, conn)
			_ = channel.Close()
		})
		_, _ = io.Copy(conn, channel)
	})
}
