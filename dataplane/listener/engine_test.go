package listener_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

func TestMain(m *testing.M) { leak.Main(m) }

// net is what a test runs on: sockets on loopback or memory.
type network struct {
	listen func(t testing.TB) net.Listener
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

func sockets() network {
	return network{
		listen: func(t testing.TB) net.Listener {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		dial: (&net.Dialer{}).DialContext,
	}
}

func memory() network {
	n := &memconn.Network{}
	return network{
		listen: func(t testing.TB) net.Listener {
			l, err := n.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		dial: n.Dial,
	}
}

// recorder keeps copies of what it is told.
type recorder struct {
	mu      sync.Mutex
	records []telemetry.Record
	opened  int
}

func (r *recorder) Record(rec *telemetry.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, kept(rec))
}

// kept is a copy of a record whose strings do not die with the request.
func kept(rec *telemetry.Record) telemetry.Record {
	c := *rec
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString(strings.Clone(f.String()))
		}
	}
	return c
}

func (r *recorder) Opened(*telemetry.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
}

// wait returns the records once there are n of them.
func (r *recorder) wait(t testing.TB, n int) []telemetry.Record {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		r.mu.Lock()
		got := append([]telemetry.Record(nil), r.records...)
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records, want %d: %+v", len(got), n, got)
		}
		time.Sleep(time.Millisecond) // polling: the record comes after the response
	}
}

// proxy is one listener in front of clusters.
type proxy struct {
	t        testing.TB
	net      network
	rec      *recorder
	spec     atomic.Pointer[listener.Spec]
	l        *listener.Listener
	addr     string
	clusters []*upstream.Cluster
	cancel   context.CancelFunc
	served   chan struct{}

	mu         sync.Mutex
	handshakes []error
}

type proxyOptions struct {
	direction telemetry.Direction
	endpoints []string
	serverTLS *tls.Config
	clientTLS *upstream.TLS
	http      func(*hhttp.Spec)
	route     func(*route.Route)
	cluster   func(*upstream.Spec)
	spec      func(*listener.Spec)
	options   func(*listener.Options)
	quiet     bool // no recorder
}

type nobody struct{}

func (nobody) Record(*telemetry.Record) {}
func (nobody) Opened(*telemetry.Record) {}

func (p *proxy) build(o proxyOptions) (*listener.Spec, *upstream.Cluster) {
	us := upstream.Spec{Name: "cluster", Service: "backend", Protocol: upstream.HTTP1, TLS: o.clientTLS}
	if o.direction == telemetry.Inbound {
		us.Service = ""
	}
	for _, e := range o.endpoints {
		us.Endpoints = append(us.Endpoints, upstream.EndpointSpec{Addr: netip.MustParseAddrPort(e)})
	}
	if o.cluster != nil {
		o.cluster(&us)
	}
	cluster := upstream.Build(nil, us, upstream.Deps{Dial: p.net.dial})
	r := &route.Route{Name: "default", PathPrefix: "/", Cluster: cluster, Retries: 3}
	if o.route != nil {
		o.route(r)
	}
	hs := &hhttp.Spec{
		Direction: o.direction, Service: "backend", OwnService: "frontend",
		Routes:        route.NewTable([]*route.Route{r}),
		NormalizePath: true, MergeSlashes: true, EscapedSlashes: hhttp.RejectEscapedSlashes,
		IdleTimeout: time.Minute, RequestHeaders: 10 * time.Second,
		HTTP10: true, Upgrades: hhttp.Upgrades{WebSocket: true}, GenerateRequestID: true, PreserveRequestID: true,
	}
	if o.http != nil {
		o.http(hs)
	}
	ls := &listener.Spec{Name: "listener", Direction: o.direction,
		Chains: []*listener.Chain{{Name: "http", TLS: o.serverTLS, HTTP: hs}}}
	if o.spec != nil {
		o.spec(ls)
	}
	return ls, cluster
}

func start(t testing.TB, n network, o proxyOptions) *proxy {
	p := &proxy{t: t, net: n, rec: &recorder{}, served: make(chan struct{})}
	ls, cluster := p.build(o)
	p.clusters = append(p.clusters, cluster)
	p.spec.Store(ls)
	ln := n.listen(t)
	p.addr = ln.Addr().String()
	var rec telemetry.Recorder = p.rec
	if o.quiet {
		rec = nobody{}
	}
	opts := listener.Options{
		Name: "listener", Listener: ln, Source: p.spec.Load, Recorder: rec,
		OnHandshakeError: func(_ netip.AddrPort, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.handshakes = append(p.handshakes, err)
		},
	}
	if o.options != nil {
		o.options(&opts)
	}
	p.l = listener.New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.served)
		_ = p.l.Serve(ctx)
	}()
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) stop() {
	p.cancel()
	<-p.served
	for _, c := range p.clusters {
		c.Release()
	}
}

// eventually polls: sockets have no fake time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// backend is a net/http server.
func backend(t testing.TB, n network, h http.HandlerFunc) string {
	ln := n.listen(t)
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String()
}

// client is a net/http client that connects to the proxy whatever it is asked for.
func (p *proxy) client() *http.Client {
	tr := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return p.net.dial(ctx, "tcp", p.addr) },
		DisableCompression: true, MaxIdleConnsPerHost: 100,
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (p *proxy) conn() net.Conn {
	p.t.Helper()
	c, err := p.net.dial(context.Background(), "tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// raw sends bytes and returns all that comes back until the proxy closes.
func (p *proxy) raw(send string) string {
	p.t.Helper()
	c := p.conn()
	_, _ = io.WriteString(c, send) // refused before all of it is taken, perhaps
	b, _ := io.ReadAll(c)
	return string(b)
}

// ask sends a raw request and reads one response.
func ask(t testing.TB, c net.Conn, r *bufio.Reader, method, send string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func eachNetwork(t *testing.T, f func(t *testing.T, n network)) {
	t.Run("sockets", func(t *testing.T) { f(t, sockets()) })
	t.Run("memory", func(t *testing.T) { f(t, memory()) })
}

func TestGet(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		b := backend(t, n, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("server", "app")
			fmt.Fprintf(w, "%s %s %s id=%t", r.Method, r.RequestURI, r.Host, r.Header.Get("x-request-id") != "")
		})
		p := start(t, n, proxyOptions{endpoints: []string{b}})
		c := p.client()
		for range 3 {
			resp, err := c.Get("http://Cart/a//b/../c?q=1")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got, want := string(body), "GET /a/c?q=1 cart id=true"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := resp.Header.Get("server"); got != "app" {
				t.Errorf("server: %q", got)
			}
		}
		recs := p.rec.wait(t, 3)
		r := recs[2]
		if r.Status != 200 || r.Details != "via_upstream" || r.Path != "/a/c?q=1" || r.OriginalPath != "/a//b/../c?q=1" ||
			r.Attempts != 1 || r.Cluster != "cluster" || r.DestinationService != "backend" || r.SourceService != "frontend" ||
			r.BytesOut != 25 || r.UpstreamHost.String() != b {
			t.Errorf("record: %+v", r)
		}
		if got := p.clusters[0].Endpoints()[0]; got.ConnectionsTotal != 1 || got.RequestsTotal != 3 || got.RequestsActive != 0 {
			t.Errorf("endpoint: %+v", got)
		}
	})
}
