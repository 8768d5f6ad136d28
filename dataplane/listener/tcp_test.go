package listener_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bufio"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/proxyprotocol"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

func mustAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// switchable is a network on which connecting can be made to fail.
type switchable struct {
	network
	broken atomic.Bool
	dials  atomic.Int64
}

func (s *switchable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.dials.Add(1)
	if s.broken.Load() {
		return nil, syscall.ECONNREFUSED
	}
	return s.network.dial(ctx, network, addr)
}

// tcpChain turns an HTTP chain into an opaque one.
func tcpChain(s *listener.Spec, idle time.Duration) {
	for _, c := range s.Chains {
		h := c.HTTP
		c.TCP = &tcp.Spec{Direction: h.Direction, Service: h.Service, OwnService: h.OwnService, OwnID: h.OwnID,
			Cluster: h.Routes.Routes()[0].Cluster, IdleTimeout: idle}
		c.HTTP = nil
	}
}

func opaque(s *upstream.Spec) { s.Protocol = upstream.Opaque }

type networkFunc func(*filter.Conn) *filter.Verdict

func (f networkFunc) Connection(c *filter.Conn) *filter.Verdict { return f(c) }

func TestTCP(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		ca := newAuthority(t)
		echo := script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })
		dead := n.listen(t)
		deadAddr := dead.Addr().String()
		dead.Close()
		in := start(t, n, proxyOptions{direction: telemetry.Inbound, endpoints: []string{echo}, serverTLS: ca.server(idBackend), cluster: opaque,
			spec: func(s *listener.Spec) { tcpChain(s, 0) }})
		out := start(t, n, proxyOptions{endpoints: []string{deadAddr, in.addr}, clientTLS: ca.client(idFrontend), cluster: opaque,
			http: func(s *hhttp.Spec) { s.OwnID = func() string { return idFrontend } },
			spec: func(s *listener.Spec) { tcpChain(s, 0) }})
		data := bytes.Repeat([]byte("0123456789"), 300_000)
		for range 2 {
			c := out.conn()
			go func() {
				_, _ = c.Write(data)
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		o, i := out.rec.wait(t, 2)[1], in.rec.wait(t, 2)[1]
		if o.BytesIn != int64(len(data)) || o.BytesOut != int64(len(data)) || o.Flags != "" || o.DestinationID != idBackend || o.SourceID != idFrontend {
			t.Errorf("egress %+v", o)
		}
		if i.SourceID != idFrontend || i.SourceService != "frontend" || i.TLSVersion != tls.VersionTLS13 || i.Protocol != "TCP" {
			t.Errorf("ingress %+v", i)
		}
		if out.rec.opened != 2 {
			t.Errorf("opened %d", out.rec.opened)
		}
	})
}

func TestTCPRefusals(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n network) {
		var denied atomic.Bool
		verdict := &filter.Verdict{Refuse: true, Flags: "UAEX", Reason: "permission_denied", Policy: "P", Rule: "R", Details: "rbac"}
		p := start(t, n, proxyOptions{direction: telemetry.Inbound, cluster: opaque,
			endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })},
			spec: func(s *listener.Spec) {
				tcpChain(s, 0)
				s.Chains[0].Network = []filter.Network{networkFunc(func(*filter.Conn) *filter.Verdict {
					if denied.Load() {
						return verdict
					}
					return nil
				})}
			}})
		c := p.conn()
		buf := make([]byte, 4)
		exchange := func() error {
			if _, err := io.WriteString(c, "ping"); err != nil {
				return err
			}
			_, err := io.ReadFull(c, buf)
			return err
		}
		if err := exchange(); err != nil {
			t.Fatal(err)
		}
		p.l.Rejudge()
		if err := exchange(); err != nil {
			t.Fatal("reset though still allowed:", err)
		}
		denied.Store(true)
		p.l.Rejudge()
		if _, err := c.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("open connection: %v", err)
		}
		again, err := p.net.dial(context.Background(), "tcp", p.addr)
		if err == nil { // the reset may be faster than connect
			_, err = again.Read(buf)
			again.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("new connection: %v", err)
		}
		for _, r := range p.rec.wait(t, 2) {
			if r.Flags != "UAEX" || r.Policy != "P" || r.Rule != "R" {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestTCPNoEndpoint(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{cluster: opaque, endpoints: []string{"127.0.0.1:1", "127.0.0.1:2"}, spec: func(s *listener.Spec) { tcpChain(s, 0) }})
	if _, err := p.conn().Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if r := p.rec.wait(t, 1)[0]; r.Flags != "UF" || r.Attempts != 2 || r.TransportFailure == "" {
		t.Errorf("%+v", r)
	}
}

// An opaque connection ends when both directions are silent for the idle time, not when one is.
func TestTCPIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memory()
		p := start(t, n, proxyOptions{cluster: opaque, spec: func(s *listener.Spec) { tcpChain(s, 10*time.Second) },
			endpoints: []string{script(t, n, func(c net.Conn, r *bufio.Reader) {
				for range 5 {
					time.Sleep(7 * time.Second)
					fmt.Fprint(c, "tick")
				}
				_, _ = r.ReadByte()
			})}})
		c := p.conn()
		_ = c.SetDeadline(time.Now().Add(time.Hour))
		began := time.Now()
		b, err := io.ReadAll(c)
		if len(b) != 20 || err != nil || time.Since(began) != 45*time.Second {
			t.Errorf("%q %v after %s", b, err, time.Since(began))
		}
		if r := p.rec.wait(t, 1)[0]; r.Flags != "SI" || r.BytesOut != 20 {
			t.Errorf("%+v", r)
		}
		p.stop()
	})
}

// Connections are shared out by weight, and each is told to the chain's own access log as well.
func TestTCPWeighted(t *testing.T) {
	n := memory()
	log := &recorder{}
	p := start(t, n, proxyOptions{cluster: opaque, endpoints: []string{"127.0.0.1:1"}, spec: func(s *listener.Spec) {
		tcpChain(s, time.Minute)
		spec := s.Chains[0].TCP
		spec.Cluster, spec.Service, spec.AccessLog = nil, "", log
		for i, weight := range []uint32{1, 3} {
			to := script(t, n, func(c net.Conn, _ *bufio.Reader) { fmt.Fprint(c, "x") })
			c := upstream.Build(nil, upstream.Spec{Name: fmt.Sprint(i), Service: "s" + fmt.Sprint(i),
				Endpoints: []upstream.EndpointSpec{{Addr: mustAddr(to)}}}, upstream.Deps{Dial: n.dial})
			t.Cleanup(func() { c.Release() })
			spec.Weighted = append(spec.Weighted, tcp.Weighted{Cluster: c, Weight: weight})
		}
	}})
	const total = 800
	for range total {
		c := p.conn()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	count := map[string]int{}
	for _, r := range log.wait(t, total) {
		if r.DestinationService != "s"+r.Cluster {
			t.Fatalf("%+v", r)
		}
		count[r.Cluster]++
	}
	if got := count["1"]; got < 500 || got > 700 { // 8 standard deviations
		t.Errorf("%v of %d", count, total)
	}
	if log.opened != total {
		t.Errorf("opened %d", log.opened)
	}
}

func TestTCPConnectAttempts(t *testing.T) {
	n := memory()
	p := start(t, n, proxyOptions{cluster: opaque, endpoints: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, spec: func(s *listener.Spec) {
		tcpChain(s, 0)
		s.Chains[0].TCP.ConnectAttempts = 2
	}})
	_, _ = p.conn().Read(make([]byte, 1))
	if r := p.rec.wait(t, 1)[0]; r.Flags != "UF" || r.Attempts != 2 {
		t.Errorf("%+v", r)
	}
}

// Where connections go to where they were meant to, one that was meant for the proxy itself would come back for ever.
func TestTCPOriginalDst(t *testing.T) {
	n := memory()
	echo := script(t, n, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(c, r) })
	p := start(t, n, proxyOptions{cluster: func(s *upstream.Spec) { opaque(s); s.OriginalDst = &upstream.OriginalDst{} }, spec: func(s *listener.Spec) {
		tcpChain(s, 0)
		s.ProxyProtocol = &listener.ProxyProtocol{Optional: true, V1: true}
		s.SniffTimeout = time.Minute
	}})
	c := p.conn()
	header := proxyprotocol.Append(nil, 1, mustAddr("192.0.2.1:1"), mustAddr(echo))
	_, _ = c.Write(append(header, "hello"...))
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q %v", b, err)
	}
	c.Close()
	p.rec.wait(t, 1)
	lost := p.conn()
	fmt.Fprint(lost, "to nobody")
	if b, _ := io.ReadAll(lost); len(b) != 0 {
		t.Errorf("%q", b)
	}
	recs := p.rec.wait(t, 2)
	if recs[0].UpstreamHost != mustAddr(echo) || recs[1].Flags != "UH" || p.l.Stats().Accepted != 2 {
		t.Errorf("%+v", recs)
	}
}
