package listener_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
	"github.com/hauberk-mesh/hauberk/dataplane/proxyprotocol"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// trickle is a connection that sends byte by byte.
type trickle struct{ net.Conn }

func (t trickle) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := t.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// greeter says who it is over TLS and ends the connection.
func greeter(t *testing.T, n network, ca *authority, name string) string {
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.leaf(idBackend, time.Hour)}}
	return script(t, n, func(c net.Conn, _ *bufio.Reader) {
		s := tls.Server(c, cfg)
		fmt.Fprint(s, name)
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, s)
	})
}

// passthrough gives a listener one opaque chain per name, each with an endpoint of its own.
func passthrough(t *testing.T, n network, s *listener.Spec, to map[string]string) {
	s.Sniff, s.SniffTimeout, s.Chains = true, 15*time.Second, nil
	for name, addr := range to {
		cluster := upstream.Build(nil, upstream.Spec{Name: addr, Endpoints: []upstream.EndpointSpec{{Addr: mustAddr(addr)}}}, upstream.Deps{Dial: n.dial})
		t.Cleanup(func() { cluster.Release() })
		c := &listener.Chain{Name: name, TCP: &tcp.Spec{Cluster: cluster}}
		if name != "" {
			c.Match.ServerNames = []string{name}
		}
		s.Chains = append(s.Chains, c)
	}
}

// TLS passes through to whom its server name belongs, however the hello is cut, and the name is recorded.
func TestPassthrough(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ca := newAuthority(t)
		to := map[string]string{}
		for _, name := range []string{"a.example", "*.b.example", ""} {
			to[name] = greeter(t, n, ca, "server of "+name)
		}
		p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, spec: func(s *listener.Spec) { passthrough(t, n, s, to) }})
		for i, tc := range []struct {
			ask, want string
			curves    []tls.CurveID
			byByte    bool
		}{
			{"a.example", "a.example", nil, false}, {"A.Example", "a.example", nil, true}, {"x.b.example", "*.b.example", []tls.CurveID{tls.X25519MLKEM768}, true},
			{"b.example", "", []tls.CurveID{tls.X25519}, true}, {"c.example", "", nil, false},
		} {
			raw := p.conn()
			var c net.Conn = raw
			if tc.byByte {
				c = trickle{raw}
			}
			client := tls.Client(c, &tls.Config{ServerName: tc.ask, InsecureSkipVerify: true, CurvePreferences: tc.curves})
			b, err := io.ReadAll(client)
			if err != nil || string(b) != "server of "+tc.want {
				t.Fatalf("%+v: %q %v", tc, b, err)
			}
			client.Close()
			if r := p.rec.wait(t, i+1)[i]; r.SNI != strings.ToLower(tc.ask) || r.TLSVersion != 0 {
				t.Errorf("%+v: %+v", tc, r)
			}
		}
	})
}

// A hello that is no hello ends the connection, and is counted.
func TestMalformedHello(t *testing.T) {
	n := memory()
	to := map[string]string{"a.example": "127.0.0.1:1", "": "127.0.0.1:2"}
	p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, spec: func(s *listener.Spec) { passthrough(t, n, s, to) }})
	if got := p.raw("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"); got != "" {
		t.Errorf("%q", got)
	}
	eventually(t, "the count", func() bool { return p.l.Stats().Malformed == 1 })
}

// Who sends a hello byte by byte is served until the time is up, and not longer, however much of it has come.
func TestSlowHello(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := memory()
			to := map[string]string{"a.example": "127.0.0.1:1"}
			p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, spec: func(s *listener.Spec) {
				passthrough(t, n, s, to)
				s.SniffTimeout, s.PlaintextOnSniffIdle = 3*time.Second, goOn
			}})
			c := p.conn()
			_ = c.SetDeadline(time.Now().Add(time.Hour))
			began, written := time.Now(), make(chan struct{})
			go func() {
				defer close(written)
				for _, b := range []byte("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + strings.Repeat("x", 100)) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			_, err := io.ReadAll(c)
			want := 3 * time.Second
			if goOn { // it is TLS: silence decides nothing, and the rest may take as long as a handshake
				want = listener.DefaultHandshakeTimeout
			}
			if took := time.Since(began); took != want {
				t.Errorf("go on %t: %v after %s", goOn, err, took)
			}
			c.Close()
			<-written
			p.stop()
		})
	}
}

// whoAsks keeps what a chain's filters saw last of a connection.
type whoAsks struct{ last atomic.Pointer[filter.Conn] }

func (w *whoAsks) Connection(c *filter.Conn) *filter.Verdict { w.last.Store(c); return nil }

func proxied(t *testing.T, n network, p *listener.ProxyProtocol, sniff bool) (*proxy, *whoAsks) {
	who := &whoAsks{}
	return start(t, n, proxyOptions{cluster: opaque, direction: telemetry.Inbound,
		endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })},
		spec: func(s *listener.Spec) {
			tcpChain(s, time.Minute)
			s.ProxyProtocol, s.Sniff, s.SniffTimeout = p, sniff, time.Minute
			s.Chains[0].Network = []filter.Network{who}
			s.Chains[0].Match.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}
			s.Chains[0].Match.DirectSources = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}}), who
}

func TestProxyProtocol(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		p, who := proxied(t, n, &listener.ProxyProtocol{V1: true, V2: true}, true)
		src, dst := netip.MustParseAddrPort("192.0.2.7:1234"), netip.MustParseAddrPort("198.51.100.1:443")
		for i, header := range []string{
			string(proxyprotocol.Append(nil, 1, src, dst)), string(proxyprotocol.Append(nil, 2, src, dst)),
			"PROXY UNKNOWN\r\n", string(proxyprotocol.Append(nil, 2, netip.AddrPort{}, dst)),
		} {
			c := p.conn()
			fmt.Fprint(trickle{c}, header+"hello")
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
				t.Fatalf("%q: %q %v", header, b, err)
			}
			remote, local := src, dst
			if i >= 2 {
				remote, local = filter.AddrPort(c.LocalAddr()), filter.AddrPort(c.RemoteAddr())
			}
			info := who.last.Load()
			r := p.rec.wait(t, i+1)[i]
			if info.Remote != remote || info.Local != local || r.DownstreamRemote != remote || r.DownstreamLocal != local {
				t.Errorf("%q: filters see %+v, recorded is %s -> %s", header, info, r.DownstreamRemote, r.DownstreamLocal)
			}
		}
		for i, wrong := range []string{"hello, no header here", "PROXY TCP4 1.2.3.4\r\nhello", "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00"} {
			if got := p.raw(wrong); got != "" {
				t.Errorf("%q is served: %q", wrong, got)
			}
			eventually(t, "the count", func() bool { return p.l.Stats().Malformed == int64(i+1) })
		}
		if got := p.raw(string(proxyprotocol.Append(nil, 1, netip.MustParseAddrPort("203.0.113.1:1"), dst)) + "x"); got != "" {
			t.Errorf("a source that no chain is for is served: %q", got)
		}
	})
}

// Where headers are optional a connection without one is itself; where they are not configured one is just bytes.
func TestProxyProtocolOptional(t *testing.T) {
	n := memory()
	p, who := proxied(t, n, &listener.ProxyProtocol{Optional: true, V2: true}, false)
	echo := func(p *proxy, send string) string {
		c := p.conn()
		fmt.Fprint(c, send)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		b, _ := io.ReadAll(c)
		return string(b)
	}
	if got := echo(p, "PRO hello"); got != "PRO hello" {
		t.Errorf("%q", got)
	}
	if info := who.last.Load(); !info.Remote.Addr().IsLoopback() {
		t.Errorf("%+v", info)
	}
	if got := echo(p, "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nx"); got != "" {
		t.Errorf("a version that is not wanted is served: %q", got)
	}
	plain, who := proxied(t, n, nil, false)
	const lie = "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nx"
	if got := echo(plain, lie); got != lie {
		t.Errorf("%q", got)
	}
	if info := who.last.Load(); !info.Remote.Addr().IsLoopback() {
		t.Errorf("a header is believed that nobody has asked for: %+v", info)
	}
}

// either has an HTTP chain and an opaque one, and tells them apart by what comes.
func either(t *testing.T, n network, opaqueTo string) func(*listener.Spec) {
	return func(s *listener.Spec) {
		cluster := upstream.Build(nil, upstream.Spec{Name: "o", Endpoints: []upstream.EndpointSpec{{Addr: mustAddr(opaqueTo)}}}, upstream.Deps{Dial: n.dial})
		t.Cleanup(func() { cluster.Release() })
		s.Chains[0].Match.ALPN = []string{"http/1.0", "http/1.1", "h2c"}
		s.Chains = append(s.Chains, &listener.Chain{Name: "opaque", TCP: &tcp.Spec{Cluster: cluster}})
		s.SniffHTTP, s.SniffTimeout = true, 5*time.Second
	}
}

func TestDetection(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		shout := script(t, n, func(c net.Conn, r *bufio.Reader) {
			line, _ := r.ReadString('\n')
			fmt.Fprint(c, strings.ToUpper(line))
		})
		p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}, spec: either(t, n, shout)})
		c := p.conn()
		if resp, body := ask(t, trickle{c}, bufio.NewReader(c), "POST", "POST /long/path?q HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != 200 || body != "hi" {
			t.Error(resp.StatusCode, body)
		}
		c.Close()
		for _, line := range []string{"ehlo client\r\n", "*1\r\n"} {
			c := p.conn()
			fmt.Fprint(c, line)
			if b, err := io.ReadAll(c); err != nil || string(b) != strings.ToUpper(line) {
				t.Errorf("%q: %q %v", line, b, err)
			}
			c.Close()
		}
		seen := map[string]int{} // a record comes after its answer: in no order
		for _, r := range p.rec.wait(t, 3) {
			seen[r.Protocol]++
		}
		if seen["HTTP/1.1"] != 1 || seen["TCP"] != 2 {
			t.Errorf("%v", seen)
		}
	})
}

// A client that waits for the server to speak first is not one of HTTP; one that has begun a request is, however slowly.
func TestSilenceIsOpaque(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		server := script(t, n, func(c net.Conn, _ *bufio.Reader) { fmt.Fprint(c, "220 ready\r\n") })
		p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, spec: either(t, n, server)})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		line, err := bufio.NewReader(c).ReadString('\n')
		if took := time.Since(began); line != "220 ready\r\n" || took != 5*time.Second {
			t.Errorf("%q %v after %s", line, err, took)
		}
		c.Close()
		slow := p.conn()
		_ = slow.SetDeadline(time.Now().Add(time.Hour))
		fmt.Fprint(slow, "GE")
		began = time.Now()
		if b, _ := io.ReadAll(slow); len(b) != 0 || time.Since(began) != 5*time.Second {
			t.Errorf("%q after %s", b, time.Since(began))
		}
		p.stop()
	})
}

// dialled is an open connection that works, or the error that ended it.
func dialled(t *testing.T, p *proxy) (net.Conn, error) {
	t.Helper()
	c, err := p.net.dial(context.Background(), "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(c, "x"); err != nil {
		return c, err
	}
	_, err = c.Read(make([]byte, 1))
	return c, err
}

func echoing(t *testing.T, n network, spec func(*listener.Spec), o func(*listener.Options)) *proxy {
	return start(t, n, proxyOptions{cluster: opaque, options: o,
		endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })},
		spec: func(s *listener.Spec) {
			tcpChain(s, time.Hour)
			if spec != nil {
				spec(s)
			}
		}})
}

func TestMaxConnections(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		p := echoing(t, n, func(s *listener.Spec) { s.MaxConnections = 2 }, nil)
		first, err := dialled(t, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dialled(t, p); err != nil {
			t.Fatal(err)
		}
		if _, err := dialled(t, p); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the third: %v", err)
		}
		if s := p.l.Stats(); s.Limited != 1 || s.Active != 2 {
			t.Errorf("%+v", s)
		}
		first.Close()
		eventually(t, "a place", func() bool { return p.l.Stats().Active == 1 })
		if _, err := dialled(t, p); err != nil {
			t.Error(err)
		}
	})
}

// A chain's limit counts over changes of configuration, and who is too many waits before it is told so.
func TestConnectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := echoing(t, n, func(s *listener.Spec) {
			s.Chains[0].Limit = &listener.ConnectionLimit{Key: "k", Max: 1, Delay: 3 * time.Second}
		}, nil)
		first, err := dialled(t, p)
		if err != nil {
			t.Fatal(err)
		}
		again := *p.spec.Load()
		p.spec.Store(&again)
		began := time.Now()
		if _, err := dialled(t, p); !errors.Is(err, syscall.ECONNRESET) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		first.Close()
		synctest.Wait()
		third, err := dialled(t, p)
		if err != nil || p.l.Stats().Limited != 1 {
			t.Errorf("%v %+v", err, p.l.Stats())
		}
		third.Close()
		p.stop()
	})
}

func TestOverload(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		m := overload.New(overload.Spec{Connections: 1}, overload.Deps{})
		p := echoing(t, n, nil, func(o *listener.Options) { o.Overload = m })
		exempt := echoing(t, n, func(s *listener.Spec) { s.IgnoreGlobalLimit = true }, func(o *listener.Options) { o.Overload = m })
		first, err := dialled(t, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dialled(t, p); err == nil || p.l.Stats().Overloaded != 1 {
			t.Errorf("%v %+v", err, p.l.Stats())
		}
		if _, err := dialled(t, exempt); err != nil {
			t.Error(err)
		}
		first.Close()
		eventually(t, "the end", func() bool { return m.Status().Connections == 1 })
	})
}

// Under full pressure connections wait in the kernel, and a listener that is closed meanwhile does not wait for the pressure to end.
func TestStopAccepting(t *testing.T) {
	n := memory()
	m := overload.New(overload.Spec{Monitors: []overload.Monitor{{Name: "m", Pressure: func() float64 { return 1 }}},
		Actions: map[overload.Action][]overload.Trigger{overload.StopAcceptingConnections: {{Monitor: "m", From: 1, To: 1}}}}, overload.Deps{})
	m.Refresh()
	p := echoing(t, n, nil, func(o *listener.Options) { o.Overload = m })
	if err := p.l.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if p.l.Stats().Accepted != 0 {
		t.Error("accepted")
	}
}

// A connection that is accepted and silent costs little more than the goroutine that waits for it.
func TestIdleMemory(t *testing.T) {
	const conns, most = 2000, 6 << 10
	n := sockets()
	for _, kind := range []string{"inspected", "passthrough"} {
		t.Run(kind, func(t *testing.T) {
			p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, quiet: true, spec: func(s *listener.Spec) {
				passthrough(t, n, s, map[string]string{"a.example": "127.0.0.1:1"})
			}})
			before := held()
			open := make([]net.Conn, conns)
			for i := range open {
				c, err := n.dial(context.Background(), "tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				open[i] = c
				if kind == "passthrough" { // and in the middle of a hello
					_, _ = c.Write([]byte("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + strings.Repeat("x", 40)))
				}
			}
			eventually(t, "all to be accepted", func() bool { return p.l.Stats().Active == conns })
			clients := clientCost(t, n)
			each := (held()-before)/conns - clients
			t.Logf("%d bytes a connection", each)
			if each > most {
				t.Errorf("%d bytes a connection, at most %d", each, most)
			}
			for _, c := range open {
				c.Close()
			}
		})
	}
}

// held is the heap and the stacks in use.
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// clientCost is what one end of a connection costs that nobody serves: the test's own.
func clientCost(t *testing.T, n network) int64 {
	const conns = 500
	l := n.listen(t)
	defer l.Close()
	before := held()
	var open []net.Conn
	for range conns {
		c, err := n.dial(context.Background(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	cost := (held() - before) / conns
	for _, c := range open {
		c.Close()
	}
	return cost
}

// The inspectors leave every byte where it was.
func TestInspectionConsumesNothing(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		p := echoing(t, n, func(s *listener.Spec) { s.Sniff, s.SniffHTTP, s.SniffTimeout = true, true, time.Minute }, nil)
		for _, first := range []string{"\x16", "\x16\x03\x01\x00", "GET / HTTP/1.1", "GET / HTTP/1.1\r\n", "\r\n\r\n", "\x00\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
			data := append([]byte(first), bytes.Repeat([]byte("z"), 100_000)...)
			if first[0] == '\x16' {
				data = data[:len(first)] // a beginning that ends there
			}
			c := p.conn()
			go func() {
				_, _ = c.Write(data)
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			b, err := io.ReadAll(c)
			if first[0] == '\x16' {
				if len(b) != 0 {
					t.Errorf("%q: %q", first, b)
				}
				continue
			}
			if err != nil || !bytes.Equal(b, data) {
				t.Errorf("%q: %d bytes, %v", first, len(b), err)
			}
		}
	})
}

// A chain's own time for the handshake holds, for who says nothing at all.
func TestHandshakeTimeoutOfChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		ca := newAuthority(t)
		p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, serverTLS: ca.server(idBackend), spec: func(s *listener.Spec) {
			s.Chains[0].HandshakeTimeout = 2 * time.Second
		}})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		if _, err := io.ReadAll(c); time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		synctest.Wait()
		if len(p.handshakes) != 1 || !strings.Contains(p.handshakes[0].Error(), "not done after 2s") {
			t.Errorf("%v", p.handshakes)
		}
		c.Close()
		p.stop()
	})
}
