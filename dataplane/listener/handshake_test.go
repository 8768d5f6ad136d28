package listener_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/admission"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// slowKey lets a test see and hold handshakes where they compute: the server asks it for its certificate.
type slowKey struct {
	step chan struct{} // each handshake takes one; closed: as many as there are
	open func()        // closes it

	mu    sync.Mutex // guards below
	turns []string   // sources, in the order of their turns
	now   int
	most  int
}

func (k *slowKey) certificate(c *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		k.mu.Lock()
		k.turns = append(k.turns, netip.MustParseAddrPort(hello.Conn.RemoteAddr().String()).Addr().String())
		k.now++
		k.most = max(k.most, k.now)
		k.mu.Unlock()
		<-k.step
		k.mu.Lock()
		k.now--
		k.mu.Unlock()
		return c, nil
	}
}

func (k *slowKey) seen() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.turns...)
}

func (k *slowKey) count(source string) (n int) {
	for _, s := range k.seen() {
		if s == source {
			n++
		}
	}
	return n
}

// guarded is a proxy with a gate and a slow key, which opens when the test ends.
func guarded(t *testing.T, o admission.Options, limit time.Duration) (p *proxy, g *admission.Gate, key *slowKey) {
	ca := newAuthority(t)
	g, key = admission.New(o), &slowKey{step: make(chan struct{})}
	key.open = sync.OnceFunc(func() { close(key.step) })
	own := ca.leaf(idBackend, time.Hour)
	n := sockets()
	p = start(t, n, proxyOptions{
		endpoints: []string{app(t, n)},
		serverTLS: &tls.Config{GetCertificate: key.certificate(&own), MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true},
		options:   func(o *listener.Options) { o.Handshakes = g },
		spec:      func(s *listener.Spec) { s.Chains[0].HandshakeTimeout = limit },
	})
	t.Cleanup(key.open)
	return p, g, key
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, source, to string) net.Conn {
	t.Helper()
	c, err := dial(t, source, to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t *testing.T, source, to string) (net.Conn, error) {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}).Dial("tcp", to)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return c, err
}

var anybody = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the tests are about time

const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

// TestFlood: one source opens as many handshakes as it can, silent ones and such that compute, and all that may compute at once
// do and get stuck. Requests on an open connection go on; a client from elsewhere has its turn next but one, before the hundreds
// that came first; and of the flood only what its source may have open is held, which is half of all.
func TestFlood(t *testing.T) {
	const slots, room, silent, loud = 3, 240, 60, 100
	p, g, key := guarded(t, admission.Options{Running: slots, Open: room}, 0)
	go func() { key.step <- struct{}{} }()
	open := tls.Client(dialFrom(t, "127.0.0.1", p.addr), anybody)
	r := bufio.NewReader(open)
	ask(t, open, r, "GET", request)

	var flood sync.WaitGroup
	for range silent {
		dialFrom(t, "127.0.0.2", p.addr)
	}
	eventually(t, "the silent ones", func() bool { return g.Stats().Open == silent })
	for range loud {
		if c, err := dial(t, "127.0.0.2", p.addr); err == nil { // else the reset came sooner than that
			flood.Go(func() { _ = tls.Client(c, anybody).Handshake() })
		}
	}
	held := room/2 - silent
	eventually(t, "the flood to fill what it may", func() bool {
		s := g.Stats()
		return s.Running == slots && s.Waiting == held-slots && p.l.Stats().HandshakesRefused == loud-int64(held)
	})

	for range 100 { // no handshake comes to an end meanwhile
		if resp, body := ask(t, open, r, "GET", request); resp.StatusCode != 200 || body != "hello" {
			t.Fatal(resp.StatusCode, body)
		}
	}
	other := tls.Client(dialFrom(t, "127.0.0.3", p.addr), anybody)
	done := make(chan error, 1)
	go func() { done <- other.Handshake() }()
	eventually(t, "the other to queue", func() bool { return g.Stats().Waiting == held-slots+1 })
	before := key.count("127.0.0.2")
	for key.count("127.0.0.3") == 0 {
		at := len(key.seen())
		key.step <- struct{}{}
		eventually(t, "the next turn", func() bool { return len(key.seen()) > at })
	}
	if n := key.count("127.0.0.2") - before; n > 1 {
		t.Errorf("%d of the flood came before", n)
	}
	key.open()
	if err := <-done; err != nil {
		t.Error(err)
	}
	ask(t, other, bufio.NewReader(other), "GET", request)
	flood.Wait()
	eventually(t, "all to have had their turn", func() bool { return p.l.Stats().Handshakes == int64(held)+2 })
	if s := g.Stats(); key.most > slots || s.Running != 0 || s.Waiting != 0 || s.Refused[admission.SourceFull] != uint64(loud-held) {
		t.Errorf("%d at once, %+v", key.most, s)
	}
}

// TestQueueTimeout: who waits for a turn for half of its time is refused at once, and told by a reset.
func TestQueueTimeout(t *testing.T) {
	p, g, _ := guarded(t, admission.Options{Running: 1}, 200*time.Millisecond)
	stuck := dialFrom(t, "127.0.0.1", p.addr)
	go func() { _ = tls.Client(stuck, anybody).Handshake() }()
	eventually(t, "the only slot to be taken", func() bool { return g.Stats().Running == 1 })
	late := tls.Client(dialFrom(t, "127.0.0.1", p.addr), anybody)
	if err := late.Handshake(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	told := func() []error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.handshakes
	}
	eventually(t, "somebody to be told", func() bool { return len(told()) == 1 })
	if s := g.Stats(); s.Refused[admission.OutOfTime] != 1 || p.l.Stats().HandshakesRefused != 1 || !strings.Contains(told()[0].Error(), "no turn within 100ms") {
		t.Errorf("%v %+v", told(), s)
	}
}

// TestGoneWhileQueueing: a client that went away costs no turn of the key.
func TestGoneWhileQueueing(t *testing.T) {
	p, g, key := guarded(t, admission.Options{Running: 1}, 0)
	stuck := dialFrom(t, "127.0.0.1", p.addr)
	go func() { _ = tls.Client(stuck, anybody).Handshake() }()
	eventually(t, "the only slot to be taken", func() bool { return g.Stats().Running == 1 })
	for range 5 {
		c := dialFrom(t, "127.0.0.2", p.addr)
		waiting := g.Stats().Waiting
		go func() { _ = tls.Client(c, anybody).Handshake() }()
		eventually(t, "it to queue", func() bool { return g.Stats().Waiting > waiting })
		_ = c.Close()
	}
	key.open()
	eventually(t, "their end", func() bool { return p.l.Stats().HandshakeErrors == 5 })
	if n := key.count("127.0.0.2"); n != 0 {
		t.Errorf("%d were computed for", n)
	}
}

// TestRetryNeedsTurns: a client that is asked for another key share computes in turns too, and its silence holds no slot.
func TestRetryNeedsTurns(t *testing.T) {
	p, g, key := guarded(t, admission.Options{Running: 1}, 0)
	key.open()
	for range 3 {
		c := tls.Client(dialFrom(t, "127.0.0.1", p.addr), &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.X25519}})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "their end", func() bool { return g.Stats().Open == 0 })
	if s := g.Stats(); s.Running != 0 || s.Begun != 3 {
		t.Errorf("%+v", s)
	}
}

// BenchmarkHandshake is a whole mutual handshake with a listener and a first request, both ends: one connection after the other,
// and more at once than may compute.
func BenchmarkHandshake(b *testing.B) {
	for name, crowd := range map[string]int{"alone": 0, "crowd": 64} {
		b.Run(name, func(b *testing.B) {
			n, ca := sockets(), newAuthority(b)
			p := start(b, n, proxyOptions{endpoints: []string{app(b, n)}, serverTLS: ca.server(idBackend), quiet: true})
			client := ca.client(idFrontend).Config
			b.ReportAllocs()
			if crowd == 0 {
				for b.Loop() {
					first(b, p.addr, client)
				}
				return
			}
			b.SetParallelism(crowd)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					first(b, p.addr, client)
				}
			})
		})
	}
}

// first connects and makes a first request.
func first(b *testing.B, addr string, client *tls.Config) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer raw.Close()
	c := tls.Client(raw, client)
	if _, err := io.WriteString(c, request); err != nil {
		b.Error(err)
		return
	}
	if _, err := c.Read(make([]byte, 4096)); err != nil {
		b.Error(err)
	}
}
