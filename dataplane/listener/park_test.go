package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// parked starts a proxy and n connections to it, each of which has carried a request, and waits until all are parked.
func parked(t *testing.T, n int, change func(*hhttp.Spec)) (*proxy, []*bufio.ReadWriter, []net.Conn) {
	t.Helper()
	on := sockets()
	app := backend(t, on, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	p := start(t, on, proxyOptions{direction: telemetry.Inbound, endpoints: []string{app}, http: change})
	var streams []*bufio.ReadWriter
	var conns []net.Conn
	for i := range n {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s := bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
		inquire(t, s, fmt.Sprintf("/first-%d", i))
		streams, conns = append(streams, s), append(conns, c)
	}
	eventually(t, "all to be parked", func() bool { return p.l.Stats().Parked == int64(n) })
	return p, streams, conns
}

// inquire sends one request and reads its answer.
func inquire(t *testing.T, s *bufio.ReadWriter, path string) *http.Response {
	t.Helper()
	fmt.Fprintf(s, "GET %s HTTP/1.1\r\nHost: app\r\n\r\n", path)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(s.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(body) != path || err != nil {
		t.Fatalf("status %d, body %q, %v", resp.StatusCode, body, err)
	}
	return resp
}

// TestParkedConnectionsGoOn: one that was parked has no goroutine, and serves the next request as if nothing had been; again
// and again.
func TestParkedConnectionsGoOn(t *testing.T) {
	before := runtime.NumGoroutine()
	p, streams, _ := parked(t, 20, nil)
	if n := runtime.NumGoroutine() - before; n > 15 {
		t.Errorf("%d goroutines for 20 idle connections", n)
	}
	for i, s := range streams {
		inquire(t, s, fmt.Sprintf("/second-%d", i))
	}
	eventually(t, "all to be parked again", func() bool { return p.l.Stats().Parked == 20 })
	for i, s := range streams {
		inquire(t, s, fmt.Sprintf("/third-%d", i))
	}
	if s := p.l.Stats(); s.Active != 20 || s.Accepted != 20 {
		t.Errorf("%+v", s)
	}
}

// TestParkedConnectionEnds: by its client, by its idle time, by a drain, and by a cut.
func TestParkedConnectionEnds(t *testing.T) {
	closed := func(t *testing.T, s *bufio.ReadWriter, c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := s.ReadByte(); err == nil {
			t.Errorf("read %q, want the end", b)
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("it is still open")
		}
	}
	gone := func(t *testing.T, p *proxy) {
		t.Helper()
		eventually(t, "none to be left", func() bool { s := p.l.Stats(); return s.Active == 0 && s.Parked == 0 })
	}
	t.Run("by its client", func(t *testing.T) {
		p, _, conns := parked(t, 1, nil)
		conns[0].Close()
		gone(t, p)
	})
	t.Run("by its idle time", func(t *testing.T) {
		began := time.Now()
		p, streams, conns := parked(t, 1, func(s *hhttp.Spec) { s.IdleTimeout = 900 * time.Millisecond })
		closed(t, streams[0], conns[0])
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("after %s", took)
		}
		gone(t, p)
	})
	t.Run("by a drain", func(t *testing.T) {
		p, streams, conns := parked(t, 2, nil)
		began := time.Now()
		if err := p.l.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < hhttp.DrainIdle/2 {
			t.Errorf("closed after %s: a client may have sent a request already", took)
		}
		closed(t, streams[0], conns[0])
		gone(t, p)
	})
	t.Run("by a drain, with a last request", func(t *testing.T) {
		p, streams, conns := parked(t, 1, nil)
		drained := make(chan error, 1)
		go func() { drained <- p.l.Drain(context.Background()) }()
		eventually(t, "the drain to begin", func() bool { return p.l.Stats().Parked == 0 })
		if resp := inquire(t, streams[0], "/last"); !resp.Close {
			t.Error("the last answer does not say so")
		}
		closed(t, streams[0], conns[0])
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("by a cut", func(t *testing.T) {
		p, streams, conns := parked(t, 2, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = p.l.Drain(ctx)
		closed(t, streams[0], conns[0])
		gone(t, p)
	})
}
