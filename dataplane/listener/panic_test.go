package listener_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

// buggy is a filter with a bug.
type buggy struct{}

func (buggy) Request(_ *filter.Conn, r *message.Request) *filter.Verdict {
	if r.Path == "/bug" {
		panic("a bug in a filter")
	}
	return nil
}

// bugAtTheEnd is a recorder with one: at that time an upstream connection may be open.
type bugAtTheEnd struct{ when func(*telemetry.Record) bool }

func (b bugAtTheEnd) Record(r *telemetry.Record) {
	if b.when(r) {
		panic("a bug in a recorder")
	}
}
func (bugAtTheEnd) Opened(*telemetry.Record) {}

// brokenConn has a bug in Read that only an upload runs into.
type brokenConn struct {
	*memconn.Conn
	reads int
}

func (c *brokenConn) Read(p []byte) (int, error) {
	if c.reads++; c.reads > 1 {
		panic("a bug while a body is read")
	}
	return c.Conn.Read(p)
}

// WaitReadable lets the Read come that has the bug.
func (c *brokenConn) WaitReadable() error { return nil }

type brokenListener struct{ net.Listener }

func (l brokenListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &brokenConn{Conn: c.(*memconn.Conn)}, nil
}

// A bug ends one connection, with a reset, and nothing else: it is told, counted, and leaves nothing open.
func TestPanicEndsOneConnection(t *testing.T) {
	for _, tc := range []struct {
		name     string
		listener func(net.Listener) net.Listener
		recorder telemetry.Recorder
		send     string
	}{
		{"filter", nil, nobody{}, "GET /bug HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"recorder", nil, bugAtTheEnd{func(r *telemetry.Record) bool { return strings.HasPrefix(r.Path, "/bug") }},
			"GET /bug-in-the-end HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"upload", func(l net.Listener) net.Listener { return brokenListener{l} }, nobody{},
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nbeginning"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := memory()
			app := backend(t, n, echo)
			cluster := upstream.Build(nil, upstream.Spec{Protocol: upstream.HTTP1, Endpoints: []upstream.EndpointSpec{{Addr: addrPort(app)}}}, upstream.Deps{Dial: n.dial})
			defer cluster.Release()
			spec := &listener.Spec{Chains: []*listener.Chain{{HTTP: &hhttp.Spec{
				Filters: []filter.HTTP{buggy{}}, NormalizePath: true,
				Routes: route.NewTable([]*route.Route{{PathPrefix: "/", Cluster: cluster}}),
			}}}}
			var mu sync.Mutex
			var told []string
			ln := n.listen(t)
			wrapped := net.Listener(ln)
			if tc.listener != nil {
				wrapped = tc.listener(ln)
			}
			l := listener.New(listener.Options{
				Listener: wrapped, Source: func() *listener.Spec { return spec }, Recorder: tc.recorder,
				OnPanic: func(v any, stack []byte) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, v.(string)+string(stack))
				},
			})
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan struct{})
			go func() { defer close(served); _ = l.Serve(ctx) }()
			defer func() { cancel(); <-served }()

			c, err := n.dial(ctx, "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, tc.send)
			if _, err := io.ReadAll(c); err == nil {
				t.Error("the client sees an orderly end")
			}
			eventually(t, "the connection to be gone", func() bool { return l.Stats().Active == 0 })
			mu.Lock()
			defer mu.Unlock()
			if s := l.Stats(); s.Panics != 1 || len(told) != 1 || !strings.Contains(told[0], "a bug") || !strings.Contains(told[0], "panic_test.go") {
				t.Errorf("%+v, told %q", s, told)
			}
			if s := cluster.Endpoints()[0]; s.ConnectionsActive != s.ConnectionsIdle {
				t.Errorf("an upstream connection is left open: %+v", s)
			}
		})
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
