package listener_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// The limits of a request hold for every attempt, on whatever connection it is made.
func TestTimeoutOfASecondAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		connections := 0
		b := script(t, n, func(c net.Conn, r *bufio.Reader) {
			if connections++; connections == 1 { // answers once, and closes when asked again
				_, _ = http.ReadRequest(r)
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				_, _ = http.ReadRequest(r)
				return
			}
			_, _ = io.Copy(io.Discard, r)
		})
		p := start(t, n, proxyOptions{endpoints: []string{b}, route: func(r *route.Route) { r.RequestTimeout = 3 * time.Second }})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		r := bufio.NewReader(c)
		get := "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		if resp, _ := ask(t, c, r, "GET", get); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode)
		}
		began := time.Now()
		resp, _ := ask(t, c, r, "GET", get)
		if took := time.Since(began); resp.StatusCode != 504 || took != 3*time.Second || connections != 2 {
			t.Errorf("%d after %s on %d connections", resp.StatusCode, took, connections)
		}
		c.Close()
		p.stop()
	})
}

// An endpoint that takes nothing holds no request for longer than it may last, not even by its head.
func TestTimeoutOfAHeadThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		hold := make(chan struct{})
		b := script(t, n, func(net.Conn, *bufio.Reader) { <-hold })
		p := start(t, n, proxyOptions{endpoints: []string{b}, route: func(r *route.Route) { r.RequestTimeout = 3 * time.Second }})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		head := "GET / HTTP/1.1\r\nHost: h\r\nX-Long: "
		resp, _ := ask(t, c, bufio.NewReader(c), "GET", head+strings.Repeat("a", 65536-len(head)-4)+"\r\n\r\n")
		if took := time.Since(began); resp.StatusCode != 504 || took != 3*time.Second {
			t.Errorf("%d after %s", resp.StatusCode, took)
		}
		close(hold)
		c.Close()
		p.stop()
	})
}

// A head that never ends is bounded even where no timeout is configured.
func TestHeadIsBoundedWithoutTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{endpoints: []string{"127.0.0.1:1"}, http: func(s *hhttp.Spec) { s.RequestHeaders, s.IdleTimeout = 0, 0 }})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\nX: ")
		if took := time.Since(began); resp.StatusCode != 408 || took != time.Minute {
			t.Errorf("%d after %s", resp.StatusCode, took)
		}
		c.Close()
		p.stop()
	})
}

// The mesh's own words end at the last proxy: neither the application nor a caller that is no proxy gets to see them.
func TestOwnWordsEndAtTheEdge(t *testing.T) {
	n := memory()
	ca := newAuthority(t)
	seen := make(chan http.Header, 1)
	app := backend(t, n, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	_, ingress := mesh(t, n, ca, app)
	peer := tls.Client(ingress[0].conn(), ca.client(idFrontend).Config)
	ask(t, peer, bufio.NewReader(peer), "GET", "GET / HTTP/1.1\r\nHost: h\r\nHauberk-Unprocessed: 1\r\nX-Hauberk-Anything: 1\r\nX-Kept: 1\r\n\r\n")
	h := <-seen
	if h.Get("hauberk-unprocessed") != "" || h.Get("x-hauberk-anything") != "" || h.Get("x-kept") != "1" {
		t.Errorf("the application got %v", h)
	}

	plain := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{"127.0.0.1:1"}})
	c := plain.conn()
	resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp.StatusCode != 503 || resp.Header.Get("hauberk-unprocessed") != "" {
		t.Errorf("a plaintext caller got %d %v", resp.StatusCode, resp.Header)
	}
	if r := plain.rec.wait(t, 1)[0]; !r.Unprocessed {
		t.Error("the record does not know that nothing was processed")
	}
}

// What is recorded names the listener as it is configured at that time, on connections from before a renaming too.
func TestRenamedListener(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{endpoints: []string{backend(t, n, echo)}})
	c := p.conn()
	r := bufio.NewReader(c)
	ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	renamed := *p.spec.Load()
	renamed.Name = "renamed"
	p.spec.Store(&renamed)
	ask(t, c, r, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if recs := p.rec.wait(t, 2); recs[0].Listener != "listener" || recs[1].Listener != "renamed" {
		t.Errorf("%q, then %q", recs[0].Listener, recs[1].Listener)
	}
}
