package tls

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// secure is what the tests need of a TLS connection, ours or crypto/tls's.
type secure interface {
	net.Conn
	HandshakeContext(context.Context) error
	CloseWrite() error
}

func plainClient(c net.Conn, cfg *tls.Config) secure { return tls.Client(c, cfg) }
func plainServer(c net.Conn, cfg *tls.Config) secure { return tls.Server(c, cfg) }
func ourClient(c net.Conn, cfg *tls.Config) secure   { return NewClient(c, cfg) }
func ourServer(c net.Conn, cfg *tls.Config) secure   { return NewServer(c, cfg) }

// loopback returns both ends of a TCP connection.
func loopback(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func inMemory(testing.TB) (net.Conn, net.Conn) {
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	x, y := memconn.Pair(a, a)
	return x, y
}

// mutual returns the two configurations of one mesh.
func mutual(t testing.TB) (client, server *tls.Config) {
	t.Helper()
	a := newAuthority(t, "default.default.mesh.local")
	web, cart := newSide(t, a.leaf(t, "web", nil), a.bundle()), newSide(t, a.leaf(t, "cart", nil), a.bundle())
	client = ClientConfig(&web.id, &web.trust, []string{"spiffe://default.default.mesh.local/workload/cart"}, "cart")
	return client, ServerConfig(&cart.id, &cart.trust, Options{})
}

// shaken makes both ends and lets them shake hands.
func shaken(t testing.TB, c, s net.Conn, clientCfg, serverCfg *tls.Config, client, server func(net.Conn, *tls.Config) secure) (secure, secure) {
	t.Helper()
	x, y := client(c, clientCfg), server(s, serverCfg)
	done := make(chan error, 1)
	go func() { done <- y.HandshakeContext(t.Context()) }()
	if err := errors.Join(x.HandshakeContext(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	return x, y
}

// TestBytesArriveAsTheyWere sends messages of many sizes both ways at once, read in pieces of many sizes, in every pairing
// of our connections with crypto/tls's.
func TestBytesArriveAsTheyWere(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	for name, transport := range map[string]func(testing.TB) (net.Conn, net.Conn){"memory": inMemory, "TCP": loopback} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for pair, ends := range map[string][2]func(net.Conn, *tls.Config) secure{
				"ours both": {ourClient, ourServer}, "our client": {ourClient, plainServer}, "our server": {plainClient, ourServer},
			} {
				t.Run(name+"/"+tls.VersionName(version)+"/"+pair, func(t *testing.T) {
					clientCfg, serverCfg := clientCfg.Clone(), serverCfg.Clone()
					clientCfg.MinVersion, clientCfg.MaxVersion, serverCfg.MinVersion = version, version, version
					c, s := transport(t)
					x, y := shaken(t, c, s, clientCfg, serverCfg, ends[0], ends[1])
					var wg sync.WaitGroup
					wg.Go(func() { converse(t, x, 1, 2) })
					wg.Go(func() { converse(t, y, 2, 1) })
					wg.Wait()
					x.Close()
					y.Close()
				})
			}
		}
	}
}

// converse writes one pseudo-random stream and reads another, until both have ended.
func converse(t *testing.T, c secure, own, theirs uint64) {
	var wg sync.WaitGroup
	wg.Go(func() {
		r, stream := rand.New(rand.NewPCG(own, 0)), rand.NewChaCha8([32]byte{byte(own)})
		for range 40 {
			b := make([]byte, sizes[r.IntN(len(sizes))])
			stream.Read(b)
			if n, err := c.Write(b); n != len(b) || err != nil {
				t.Errorf("wrote %d of %d: %v", n, len(b), err)
				return
			}
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, want := sha256.New(), sha256.New()
	r := rand.New(rand.NewPCG(own, 1))
	for {
		if w, ok := c.(*Conn); ok && r.IntN(2) == 0 {
			if err := sock.WaitReadable(w); err != nil {
				t.Error(err)
			}
		}
		b := make([]byte, sizes[1+r.IntN(len(sizes)-1)])
		n, err := c.Read(b)
		got.Write(b[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	wg.Wait()
	r, stream := rand.New(rand.NewPCG(theirs, 0)), rand.NewChaCha8([32]byte{byte(theirs)})
	for range 40 {
		b := make([]byte, sizes[r.IntN(len(sizes))])
		stream.Read(b)
		want.Write(b)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("other bytes arrived than were sent")
	}
}

var sizes = []int{0, 1, 2, 5, 100, 1000, maxPlaintext - 1, maxPlaintext, maxPlaintext + 1, batch - 1, batch, batch + 1, 3*batch + 7}

// counted counts what a system call would be; it takes part in all else as the connection below does.
type counted struct {
	*memconn.Conn
	reads, writes atomic.Int64
	bytes         atomic.Int64 // written
}

func (c *counted) Read(p []byte) (int, error) { c.reads.Add(1); return c.Conn.Read(p) }
func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func TestManyRecordsInOneCall(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	a, b := inMemory(t)
	c, s := &counted{Conn: a.(*memconn.Conn)}, b
	x, y := shaken(t, c, s, clientCfg, serverCfg, ourClient, plainServer)
	defer x.Close()
	defer y.Close()
	got := make(chan int64, 1)
	go func() {
		n, _ := io.CopyN(io.Discard, y, 3*batch)
		got <- n
	}()
	c.writes.Store(0)
	if _, err := x.Write(make([]byte, 3*batch)); err != nil {
		t.Fatal(err)
	}
	if n := c.writes.Load(); n != 3 {
		t.Errorf("%d writes for %d records, want 3", n, 3*batch/maxPlaintext)
	}
	if n := <-got; n != 3*batch {
		t.Errorf("%d bytes arrived", n)
	}
	c.writes.Store(0)
	for range 5 {
		if _, err := x.Write([]byte("short")); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.writes.Load(); n != 5 {
		t.Errorf("%d writes for 5 short messages", n)
	}

	lie(t, y, c.Conn, func() {
		for range 40 {
			if _, err := y.Write(make([]byte, 1000)); err != nil {
				t.Error(err)
			}
		}
	})
	c.reads.Store(0)
	for left := 40 * 1000; left > 0; {
		n, err := x.Read(make([]byte, 64<<10))
		if left -= n; err != nil {
			t.Fatal(err)
		}
	}
	if n := c.reads.Load(); n > 3 {
		t.Errorf("%d reads for 40 records that were there", n)
	}
}

// lie lets y write while nobody reads, until all of it is in the transport.
func lie(t *testing.T, y secure, at *memconn.Conn, write func()) {
	t.Helper()
	write()
	if _, err := at.PeekNow(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestHeld: what lies above the socket is seen there, exactly: an upstream connection that is thought to hold something
// can't be used again, one that is thought to hold nothing would wait for ever.
func TestHeld(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	c, s := loopback(t)
	x, y := shaken(t, c, s, clientCfg, serverCfg, ourClient, plainServer)
	defer y.Close()
	ours := x.(*Conn)
	held := func(when string, want bool) {
		t.Helper()
		if got := ours.Held(); got != want {
			t.Errorf("%s: held %v", when, got)
		}
		if got := sock.Alive(ours); got == want {
			t.Errorf("%s: alive %v", when, got)
		}
		if got := sock.NewWaiter(ours).Alive(); got == want {
			t.Errorf("%s: its waiter says alive %v", when, got)
		}
	}
	read := func(n int, want string) {
		t.Helper()
		b := make([]byte, n)
		if n, err := ours.Read(b); string(b[:n]) != want || err != nil {
			t.Fatalf("read %q, %v; want %q", b[:n], err, want)
		}
	}
	held("fresh", false)
	write := func(s string) {
		t.Helper()
		if _, err := y.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := ours.WaitReadable(); err != nil {
			t.Fatal(err)
		}
	}
	write("exactly")
	held("received", true)
	read(7, "exactly")
	held("read to the last byte", false)
	write("leftover")
	read(4, "left")
	held("half read", true)
	held("half read, asked again", true)
	if err := ours.WaitReadable(); err != nil {
		t.Fatal(err)
	}
	read(1, "o")
	held("nearly read", true)
	read(100, "ver")
	held("read with room to spare", false)

	if err := y.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := ours.WaitReadable(); err != nil {
		t.Fatal(err)
	}
	held("the peer has ended its side", true)
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
}

// TestReadDeadlinePasses: a deadline that passes, even within a record, costs no byte.
func TestReadDeadlinePasses(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	c, s := loopback(t)
	tap := &tapped{Conn: s}
	x, y := shaken(t, c, tap, clientCfg, serverCfg, ourClient, plainServer)
	defer x.Close()
	defer y.Close()
	tap.hold = true
	if _, err := y.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i := range tap.kept {
		if _, err := s.Write(tap.kept[i : i+1]); err != nil {
			t.Fatal(err)
		}
		last := i == len(tap.kept)-1
		if !last {
			_ = x.SetReadDeadline(time.Now().Add(time.Millisecond))
		} else {
			_ = x.SetReadDeadline(time.Time{})
		}
		b := make([]byte, 10)
		n, err := x.Read(b)
		if got = append(got, b[:n]...); !last && !errors.Is(err, os.ErrDeadlineExceeded) || last && err != nil {
			t.Fatalf("after byte %d of %d: %v", i, len(tap.kept), err)
		}
	}
	if string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	_ = x.SetReadDeadline(time.Unix(1, 0))
	if err := sock.WaitReadable(x); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
}

// tapped keeps what is written instead of sending it, once hold is set.
type tapped struct {
	net.Conn
	hold bool
	kept []byte
}

func (c *tapped) Write(p []byte) (int, error) {
	if !c.hold {
		return c.Conn.Write(p)
	}
	c.kept = append(c.kept, p...)
	return len(p), nil
}

// TestWriteFails: what is half written ends the connection, whatever was asked meanwhile.
func TestWriteFails(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	for name, fail := range map[string]func(x secure){
		"deadline": func(x secure) { _ = x.SetWriteDeadline(time.Now().Add(time.Millisecond)) },
		"closed":   func(x secure) { _ = x.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := inMemory(t)
			c := &counted{Conn: a.(*memconn.Conn)}
			x, y := shaken(t, c, b, clientCfg, serverCfg, ourClient, plainServer)
			defer y.Close()
			ended := make(chan error, 1)
			go func() {
				n, err := x.Write(make([]byte, 3*batch)) // more than the transport holds, and nobody reads
				if n > batch {
					t.Errorf("%d bytes are said to be written", n)
				}
				ended <- err
			}()
			if _, err := b.(*memconn.Conn).PeekNow(make([]byte, 1)); err != nil {
				_ = b.(*memconn.Conn).WaitReadable()
			}
			fail(x)
			if err := <-ended; err == nil {
				t.Fatal("written")
			}
			if _, err := x.Write([]byte("more")); err == nil {
				t.Error("a record followed half of another")
			}
			_ = x.Close()
		})
	}
}

// TestHandshakePanicReachesTheCaller: it runs in a goroutine of its own, where nobody could end just the connection.
func TestHandshakePanicReachesTheCaller(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	serverCfg = serverCfg.Clone()
	serverCfg.VerifyConnection = func(tls.ConnectionState) error { panic("a bug") }
	c, s := inMemory(t)
	x, y := NewClient(c, clientCfg), NewServer(s, serverCfg)
	client := make(chan error, 1)
	go func() { client <- x.Handshake() }()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(error).Error(), "a bug, in a TLS handshake") {
			t.Errorf("recovered %v", v)
		}
		y.Close()
		x.Close()
		<-client
	}()
	_ = y.Handshake()
	t.Error("no panic")
}

// TestPeersAreKeptOnce: connections of one caller share what was parsed, and a caller that is gone is forgotten.
func TestPeersAreKeptOnce(t *testing.T) {
	clientCfg, serverCfg := mutual(t)
	peer := func() (*Conn, func()) {
		c, s := inMemory(t)
		x, y := shaken(t, c, s, clientCfg, serverCfg, plainClient, ourServer)
		return y.(*Conn), func() { c.Close(); s.Close(); x.Close(); y.Close() }
	}
	a, closeA := peer()
	b, closeB := peer()
	before := a.ConnectionState().PeerCertificates
	if after := b.ConnectionState().PeerCertificates; len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
		t.Error("each connection has its own copy")
	}
	key := sha256.Sum256(before[0].Raw)
	closeA()
	closeB()
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	a, b, before = nil, nil, nil
	known := func() bool {
		callers.mu.Lock()
		defer callers.mu.Unlock()
		_, ok := callers.seen[key]
		return ok
	}
	for deadline := time.Now().Add(10 * time.Second); known() && time.Now().Before(deadline); {
		runtime.GC() // cleanups run some time after
	}
	if known() {
		t.Error("the certificate of a caller that is gone is still known")
	}
}

func TestHandshakeObservesItsContext(t *testing.T) {
	clientCfg, _ := mutual(t)
	c, s := loopback(t)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewClient(c, clientCfg).HandshakeContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
