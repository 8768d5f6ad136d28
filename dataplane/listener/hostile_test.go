package listener_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bufio"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// Whatever is thrown at a listener, it refuses it, keeps serving, and leaves nothing behind.
func TestHostileInput(t *testing.T) {
	n := sockets()
	ca := newAuthority(t)
	app := backend(t, n, echo)
	plain := start(t, n, proxyOptions{endpoints: []string{app}, http: func(s *hhttp.Spec) { s.RequestHeaders = 300 * time.Millisecond }})
	strict := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{app}, serverTLS: ca.server(idBackend)})
	sniffing := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{app}, spec: func(s *listener.Spec) {
		p := *s.Chains[0]
		secure := p
		secure.TLS, secure.Match.Transport, p.Match.Transport = ca.server(idBackend), listener.TLS, listener.RawBuffer
		s.Sniff, s.SniffTimeout = true, 300*time.Millisecond
		s.Chains = []*listener.Chain{&secure, &p}
	}})
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)

	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	inputs := [][]byte{nil, []byte("\r\n"), []byte("GET"), []byte("\x16"), []byte("\x16\x03\x01\x00\xff\x01"), []byte("\x16\x03\x01\xff\xff\x01\x00\x00"),
		[]byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 1<<20)), []byte(strings.Repeat("A", 1<<20)),
		[]byte("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 5000)),
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}
	for i := range 40 {
		inputs = append(inputs, random(1+i*37))
	}
	var wg sync.WaitGroup
	for _, p := range []*proxy{plain, strict, sniffing} {
		for i, in := range inputs {
			wg.Go(func() {
				c, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = c.Write(in)
				switch i % 3 {
				case 0:
					_ = c.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, c)
				case 1:
					_ = c.(*net.TCPConn).SetLinger(0)
				}
			})
		}
	}
	wg.Wait()
	resp, err := plain.client().Get("http://x/")
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	for _, p := range []*proxy{plain, strict, sniffing} {
		eventually(t, "all connections to end", func() bool { return p.l.Stats().Active <= 1 })
	}
	eventually(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+8 })
	eventually(t, "all descriptors to be closed", func() bool { return descriptors(t) <= fds+8 })
}

// A client that has sent far too much, and only reads then, still gets to read why it was refused.
func TestHugeHeadIsAnswered(t *testing.T) {
	p := start(t, sockets(), proxyOptions{endpoints: []string{"127.0.0.1:1"}})
	for range 20 {
		c := p.conn()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 431 {
			t.Fatal(resp, err)
		}
	}
}

// One byte at a time is slow, not wrong; more slowly than the limit is refused.
func TestSlowBytes(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}})
	c := p.conn()
	msg := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: v\r\n\r\n"
	go func() {
		for i := range len(msg) {
			_, _ = io.WriteString(c, msg[i:i+1])
			runtime.Gosched()
		}
	}()
	if resp, body := ask(t, c, bufio.NewReader(c), "POST", ""); body != "hello" || resp.Header.Get("x-trailer") != "v" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

// A body of 64 MB passes a client that reads slowly without piling up in the proxy.
func TestBackPressure(t *testing.T) {
	n := memory()
	const total = 64 << 20
	var sent atomic.Int64
	b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		for sent.Load() < total {
			k, err := w.Write(buf)
			if err != nil {
				return
			}
			sent.Add(int64(k))
		}
	})
	p := start(t, n, proxyOptions{endpoints: []string{b}})
	c := p.conn()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	buf := make([]byte, 256<<10)
	for {
		k, err := resp.Body.Read(buf)
		got += int64(k)
		// Two connections' buffers, the proxy's and net/http's are between the two ends.
		if ahead := sent.Load() - got; ahead > 1<<20 {
			t.Fatalf("the server is %d bytes ahead", ahead)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != total {
		t.Errorf("got %d", got)
	}
}

// The other way round: an upload does not run ahead of a server that does not read.
func TestUploadBackPressure(t *testing.T) {
	n := memory()
	release := make(chan struct{})
	b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
		<-release
		k, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, k)
	})
	p := start(t, n, proxyOptions{endpoints: []string{b}})
	c := p.conn()
	const total = 16 << 20
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", total)
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for sent.Load() < total {
			k, err := c.Write(buf)
			if err != nil {
				return
			}
			sent.Add(int64(k))
		}
	}()
	last := int64(-1)
	eventually(t, "the upload to stall", func() bool {
		now := sent.Load()
		time.Sleep(20 * time.Millisecond)
		stalled := now == last && now > 0
		last = now
		return stalled
	})
	if last > 1<<20 {
		t.Errorf("%d bytes were taken that nobody reads", last)
	}
	close(release)
	if _, body := ask(t, c, bufio.NewReader(c), "POST", ""); body != fmt.Sprint(total) {
		t.Error(body)
	}
	<-done
}

// failing is a listener whose Accept fails for a while, as it does without descriptors.
type failing struct {
	net.Listener
	left atomic.Int64
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	n := memory()
	inner := n.listen
	var ln *failing
	n.listen = func(t testing.TB) net.Listener {
		ln = &failing{Listener: inner(t)}
		ln.left.Store(4)
		return ln
	}
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, network{listen: inner}, echo)}})
	resp, err := p.client().Get("http://x/")
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if got := p.l.Stats().AcceptErrors; got != 4 {
		t.Errorf("%d accept errors", got)
	}
}
