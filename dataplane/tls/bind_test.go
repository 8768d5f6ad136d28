package tls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// queueing is a key whose operations wait until the test lets them.
type queueing struct {
	*ecdsa.PrivateKey
	began chan struct{}
	free  chan struct{}
}

func (q *queueing) Handle() ([]byte, error) { return nil, errors.New("it has none") }

func (q *queueing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("asked without a context")
}

func (q *queueing) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	q.began <- struct{}{}
	select {
	case <-q.free:
		return q.PrivateKey.Sign(random, digest, opts)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (q *queueing) DecryptContext(context.Context, io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return nil, errors.New("it can't")
}

// TestKeyIsAskedForOneHandshake: on both sides, in a mesh and outside, a key that queues learns when the handshake is over.
func TestKeyIsAskedForOneHandshake(t *testing.T) {
	a := newAuthority(t, "a.default.mesh.local")
	for name, config := range map[string]func(s *side) (mine, other func(net *side) *tls.Config, serves bool){
		"mesh server": func(s *side) (m, o func(*side) *tls.Config, serves bool) {
			return func(s *side) *tls.Config { return ServerConfig(&s.id, &s.trust, Options{}) },
				func(c *side) *tls.Config { return ClientConfig(&c.id, &c.trust, []string{s.id.ID()}, "") }, true
		},
		"mesh client": func(s *side) (m, o func(*side) *tls.Config, serves bool) {
			return func(c *side) *tls.Config {
					return ClientConfig(&c.id, &c.trust, []string{"spiffe://a.default.mesh.local/workload/other"}, "")
				},
				func(c *side) *tls.Config { return ServerConfig(&c.id, &c.trust, Options{}) }, false
		},
		"gateway": func(s *side) (m, o func(*side) *tls.Config, serves bool) {
			return func(s *side) *tls.Config {
					return ServerContext{Certificates: func() []*tls.Certificate { return []*tls.Certificate{&s.id.Get().Certificate} }}.Config()
				},
				func(*side) *tls.Config { return ClientContext{Untrusted: true}.Config() }, true
		},
		"cluster": func(s *side) (m, o func(*side) *tls.Config, serves bool) {
			return func(s *side) *tls.Config {
					return ClientContext{Untrusted: true, Certificates: func() []*tls.Certificate { return []*tls.Certificate{&s.id.Get().Certificate} }}.Config()
				},
				func(c *side) *tls.Config { return ServerConfig(&c.id, &c.trust, Options{}) }, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			svid := a.leaf(t, "own", nil)
			key := &queueing{svid.Certificate.PrivateKey.(*ecdsa.PrivateKey), make(chan struct{}, 9), make(chan struct{})}
			svid.Certificate.PrivateKey = key
			own, far := newSide(t, svid, a.bundle()), newSide(t, a.leaf(t, "other", nil), a.bundle())
			mine, other, serves := config(own)
			shake := func(ctx context.Context) error {
				c, s := loopback(t)
				defer c.Close()
				defer s.Close()
				x, y := NewClient(c, other(far)), NewServer(s, mine(own))
				if !serves {
					x, y = NewClient(c, mine(own)), NewServer(s, other(far))
				}
				end := make(chan error, 1)
				if serves {
					go func() { end <- x.Handshake() }()
					err := y.HandshakeContext(ctx)
					y.Close()
					<-end
					return err
				}
				go func() { end <- y.Handshake() }()
				err := x.HandshakeContext(ctx)
				if err != nil {
					c.Close()
				}
				<-end
				return err
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-key.began
				cancel()
			}()
			if err := shake(ctx); err == nil || !strings.Contains(err.Error(), "cancel") {
				t.Errorf("given up: %v", err)
			}
			close(key.free)
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := shake(ctx); err != nil {
				t.Errorf("let through: %v", err)
			}
		})
	}
}

// TestPlainKeysCostNothing: a certificate whose key does not queue is used as it is.
func TestPlainKeysCostNothing(t *testing.T) {
	c := &newAuthority(t, "a.org").leaf(t, "web", nil).Certificate
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if bound(ctx, c) != c {
		t.Error("it was copied")
	}
	if n := testing.AllocsPerRun(100, func() { bound(ctx, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := bound(ctx, &tls.Certificate{}); got.PrivateKey != nil {
		t.Error("a key came out of nothing")
	}
}
