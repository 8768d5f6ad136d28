package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"syscall"
	"testing"
	"time"
)

// claims is a certificate that anybody can make.
func claims(t *testing.T, id string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{u}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// What a peer says of itself counts only if somebody has verified it, and each endpoint is asked for by its own name.
func TestServerName(t *testing.T) {
	s := newServers(t, "10.0.0.1:80", "10.0.0.2:80")
	asked := make(chan string, 1)
	server := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- h.ServerName
		c := claims(t, "spiffe://d/workload/x")
		return &c, nil
	}}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		for range 4 {
			_ = tls.Server(<-s.accepted, server).Handshake()
		}
	}()
	defer func() { <-shaken }()
	for _, unverified := range []bool{false, true} {
		sp := spec("10.0.0.1:80", "10.0.0.2:80")
		sp.Endpoints[0].Hostname = "a.test"
		sp.TLS = &TLS{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "default.test"}, HostSNI: true, Unverified: unverified}
		c := Build(nil, sp, Deps{Dial: s.Dial})
		defer c.Release()
		for i, want := range []string{"a.test", "default.test"} {
			conn, err := c.Connect(context.Background(), c.members()[i].Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-asked; got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
			if conn.Proven() == unverified {
				t.Errorf("unverified %t, yet proven %t", unverified, conn.Proven())
			}
			conn.Close()
		}
	}
}

func TestKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := spec(l.Addr().String())
	s.KeepAlive = &net.KeepAliveConfig{Enable: true, Idle: 77 * time.Second, Interval: -1, Count: 3}
	c := Build(nil, s, Deps{})
	defer c.Release()
	conn, err := c.Connect(context.Background(), c.Pick(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{syscall.TCP_KEEPIDLE: 77, syscall.TCP_KEEPCNT: 3} {
		_ = raw.Control(func(fd uintptr) {
			if got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option); err != nil || got != want {
				t.Errorf("option %d: %d, %v, want %d", option, got, err, want)
			}
		})
	}
}
