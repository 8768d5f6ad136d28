package identity

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// A stranger's certificate is read for the log before it is verified: it must not fill it.
func TestAStrangersNamesAreShortInTheLog(t *testing.T) {
	p := newPlane(t)
	o := p.serve(t)
	key, long := p.key(t), strings.Repeat("x", 20_000)
	for name, c := range map[string]struct {
		claims DataplaneClaims
		path   string
	}{
		"subject": {DataplaneClaims{Mesh: "default", Dataplane: long, Service: long, TokenID: long}, "/workload/cart"},
		"mesh":    {DataplaneClaims{Mesh: long, Dataplane: "cart-1", TokenID: "x"}, "/workload/cart"},
		"id":      {DataplaneClaims{Mesh: "default", Dataplane: "cart-1", TokenID: "x"}, "/workload/" + long},
	} {
		t.Run(name, func(t *testing.T) {
			cert, err := signCertificate(&x509.Certificate{
				Subject: subjectOf(c.claims), URIs: []*url.URL{{Scheme: "spiffe", Host: "default.default.mesh.local", Path: c.path}},
				NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
			}, &x509.Certificate{}, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifyPeer(t.Context(), p.authority, []*x509.Certificate{cert}, time.Now())
			if err == nil || len(err.Error()) > 2*maxSPIFFEID {
				t.Fatalf("refused with %d bytes: %v", len(err.Error()), err)
			}
			before := len(p.log.String())
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := o.client(t, certificate([]*x509.Certificate{cert}, key)).Renew(ctx, nil); err == nil {
				t.Fatal("renewed")
			}
			if said := len(p.log.String()) - before; said > 4*maxSPIFFEID {
				t.Errorf("the log has %d bytes more", said)
			}
		})
	}
}

// idle is a stream on which nothing happens.
type idle struct {
	grpc.ServerStream
	ctx context.Context
}

func (s idle) Context() context.Context { return s.ctx }

func TestOneDataplaneHasBoundedStreams(t *testing.T) {
	p := newPlane(t)
	_, claims := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	revocations, err := NewRevocations(t.Context(), p.store, p.registry, p.logger)
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(GateOptions{Tokens: p.tokens, Revocations: revocations, Logger: p.logger})
	cert := p.svid(t, "default", ownID, claims, time.Hour)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	info := credentials.TLSInfo{}
	info.State.PeerCertificates = []*x509.Certificate{leaf}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info})

	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan error)
	open := func(handler grpc.StreamHandler) error {
		return gate.Stream()(nil, idle{ctx: ctx}, &grpc.StreamServerInfo{}, handler)
	}
	for range maxStreams {
		go func() {
			left <- open(func(any, grpc.ServerStream) error { entered <- struct{}{}; <-leave; return nil })
		}()
		<-entered
	}
	nothing := func(any, grpc.ServerStream) error { return nil }
	if err := open(nothing); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	close(leave)
	for range maxStreams {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
	if err := open(nothing); err != nil || len(gate.open) != 0 {
		t.Errorf("after they have left: %v, %v", err, gate.open)
	}
}
