package probe

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inNamespace runs fn on a goroutine whose thread has a network of its own, in which 10.99.0.0/24 are addresses of loopback
// and the firewall has these rules. Sockets, once made, stay there; a scan has to be made by the thread itself.
func inNamespace(t *testing.T, rules []string, fn func()) {
	t.Helper()
	for _, program := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network of its own")
	}
	done := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		defer close(done)
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- "cannot make a network: " + err.Error()
			return
		}
		commands := append([]string{"ip link set lo up", "ip route add local 10.99.0.0/24 dev lo"}, rules...)
		for _, command := range commands {
			words := strings.Fields(command)
			if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
				done <- command + ": " + err.Error() + ": " + string(out)
				return
			}
		}
		fn()
	}()
	if why, ok := <-done; ok {
		t.Skip(why)
	}
}

// scanHere is scanned with the loop on the caller's thread, which is in a network of its own.
func scanHere(t *testing.T, s Scan) map[uint64]Result {
	t.Helper()
	e, err := prepare(&s, Options{}, nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := e.run(context.Background()); err != nil { // there is room for all answers
		t.Error(err)
	}
	results := map[uint64]Result{}
	for list, _, ok := e.out.take(context.Background(), nil); ok; list, _, ok = e.out.take(context.Background(), nil) {
		for i := range list {
			r := e.plan.result(&list[i])
			results[r.Position] = r
		}
	}
	return results
}

// What a firewall does to a probe is told as what it is.
func TestNamespaceAnswers(t *testing.T) {
	inNamespace(t, []string{
		"iptables -A INPUT -p tcp -d 10.99.0.1 --dport 81 -j DROP",
		"iptables -A INPUT -p tcp -d 10.99.0.2 -j DROP",
		"iptables -A INPUT -p tcp -d 10.99.0.3 -j REJECT --reject-with icmp-host-unreachable",
		"iptables -A OUTPUT -p tcp -d 10.99.0.4 -j DROP",
	}, func() {
		ln, err := net.Listen("tcp", "10.99.0.1:80")
		if err != nil {
			t.Error(err)
			return
		}
		defer ln.Close()
		results := scanHere(t, Scan{Targets: "10.99.0.[1-4],10.98.0.1", Ports: "80-82", TimeoutMS: 300, PatienceMS: 100})
		if c := count(results); c.Total() != 15 {
			t.Errorf("%v", c)
			return
		}
		for place, want := range map[string]Answer{"10.99.0.1:80": Open, "10.99.0.1:81": Filtered, "10.99.0.1:82": Closed,
			"10.99.0.2:80": Filtered, "10.99.0.3:80": Unreachable, "10.98.0.1:81": Unreachable} {
			host, port, _ := strings.Cut(place, ":")
			if r := of(t, results, host, int(port[0]-'0')*10+int(port[1]-'0')); r.Answer != want {
				t.Errorf("%s: %+v, want %v", place, r, want)
			}
		}
		if r := of(t, results, "10.99.0.4", 80); r.Answer == Closed || r.Answer == Open { // its own firewall dropped it
			t.Errorf("%+v", r)
		}
	})
}

// An answer to an echo request makes an address open; without one it is filtered, and without the right not tried.
func TestNamespaceICMP(t *testing.T) {
	inNamespace(t, []string{
		"iptables -A INPUT -p icmp -d 10.99.0.2 --icmp-type echo-request -j DROP",
		"iptables -A INPUT -p icmp -d 10.99.0.3 --icmp-type echo-request -j REJECT --reject-with icmp-host-unreachable",
	}, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0\n"), 0); err != nil {
			t.Log("this network's ping sockets cannot be allowed: ", err)
			return
		}
		results := scanHere(t, Scan{Targets: "10.99.0.[1-3],::1", Ports: "icmp", TimeoutMS: 500})
		for target, want := range map[string]Answer{"10.99.0.1": Open, "10.99.0.2": Filtered, "10.99.0.3": Unreachable, "::1": Open} {
			r := of(t, results, target, 0)
			if target == "::1" && r.Answer == NotTried {
				continue // a machine without IPv6
			}
			if r.Answer != want || r.Protocol != ICMP {
				t.Errorf("%s: %+v, want %v", target, r, want)
			}
		}
	})
	inNamespace(t, nil, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("1 0\n"), 0); err != nil { // nobody
			t.Log("this network's ping sockets cannot be forbidden: ", err)
			return
		}
		results := scanHere(t, Scan{Targets: "10.99.0.1", Ports: "icmp", TimeoutMS: 500})
		if r := of(t, results, "10.99.0.1", 0); r.Answer != NotTried || !strings.Contains(r.Reason, "ping_group_range") {
			t.Errorf("%+v", r)
		}
	})
}

// A way that carries less than is asked of it slows the scan down, and hides no open port.
func TestNamespaceLoss(t *testing.T) {
	if !*soak {
		t.Skip("runs with -soak: it takes as long as the way is narrow")
	}
	inNamespace(t, []string{
		"iptables -A INPUT -p tcp --syn -m limit --limit 500/second --limit-burst 50 -j ACCEPT",
		"iptables -A INPUT -p tcp --syn -j DROP",
	}, func() {
		ln, err := net.Listen("tcp", "10.99.0.7:80")
		if err != nil {
			t.Error(err)
			return
		}
		defer ln.Close()
		begun := time.Now()
		results := scanHere(t, Scan{Targets: "10.99.0.0/26", Ports: "71-90", TimeoutMS: 3000})
		c := count(results)
		t.Logf("%v in %v", c, time.Since(begun))
		if c.Open != 1 || c.NotTried+c.Unreachable != 0 {
			t.Errorf("%v", c)
		}
	})
}
