package handshake

import (
	"context"
	"crypto"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/footprint"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// serverTask is what the server is told first.
type serverTask struct {
	Provider, Curve string
	Leaf            leaf
	Mutual          bool
	Authority       []byte // of clients' certificates, DER
}

// serverReady is its answer.
type serverReady struct {
	Address         string
	Backend, Reason string // who computes, and why not the kernels
}

// serverLook asks for a sample. The commands have no content.
type serverLook struct{}

// serverSample is what the process has done since its start.
type serverSample struct {
	CPUMicros          int64
	Handshakes, Failed int64
	LastError          string
	Batches            map[int]uint64 // how many there were, by the number of operations in them
}

// since is what was added to an earlier sample.
func (s serverSample) since(before serverSample) serverSample {
	batches := map[int]uint64{}
	for size, n := range s.Batches {
		if n > before.Batches[size] {
			batches[size] = n - before.Batches[size]
		}
	}
	return serverSample{s.CPUMicros - before.CPUMicros, s.Handshakes - before.Handshakes, s.Failed - before.Failed, s.LastError, batches}
}

// server shakes hands and hangs up, as the proxy does it: the same connection, the same configuration.
type server struct {
	config *stdtls.Config
	home   *home

	done, failed atomic.Int64
	lastError    atomic.Pointer[string]
	running      sync.WaitGroup
}

// patience is what one handshake may take. Thousands at a time do take seconds on one core.
const patience = 30 * time.Second

// serve is the server's process.
func serve(ctx context.Context, t *talk) error {
	var task serverTask
	if err := t.Decode(&task); err != nil {
		return err
	}
	s, err := newServer(ctx, task)
	if err != nil {
		return err
	}
	defer s.home.close()
	defer footprint.Room()() // as a proxy does
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer s.running.Wait()
	defer l.Close()
	s.running.Go(func() { s.accept(ctx, l) })
	err = t.Encode(serverReady{l.Addr().String(), s.home.backend, s.home.reason})
	for err == nil {
		if err = t.Decode(&serverLook{}); err != nil {
			break
		}
		var now serverSample
		if now, err = s.sample(); err == nil {
			err = t.Encode(now)
		}
	}
	return err
}

func newServer(ctx context.Context, task serverTask) (*server, error) {
	certificate, key, err := task.Leaf.parse()
	if err != nil {
		return nil, err
	}
	s := &server{}
	if s.home, err = newHome(ctx, task.Provider, key); err != nil {
		return nil, err
	}
	if s.config, err = serverConfig(task, certificate, s.home.key); err != nil {
		s.home.close()
	}
	return s, err
}

// serverConfig is the proxy's: of an inbound in the mesh where clients prove who they are, else of a listener of its own.
func serverConfig(task serverTask, certificate *x509.Certificate, key crypto.Signer) (*stdtls.Config, error) {
	options := tls.Options{Curves: []stdtls.CurveID{curveID(task.Curve)}}
	if !task.Mutual {
		chain := []*stdtls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}}
		return tls.ServerContext{Options: options, Certificates: func() []*stdtls.Certificate { return chain }}.Config(), nil
	}
	authority, err := x509.ParseCertificate(task.Authority)
	if err != nil {
		return nil, fmt.Errorf("the clients' authority: %w", err)
	}
	svid, err := tls.NewSVID([]*x509.Certificate{certificate}, key)
	if err != nil {
		return nil, err
	}
	var id tls.Identity
	var trust tls.Trust
	id.Set(svid)
	err = trust.SetBundles([]tls.Bundle{{TrustDomain: trustDomain, Certificates: []*x509.Certificate{authority}}})
	return tls.ServerConfig(&id, &trust, options), err
}

func (s *server) accept(ctx context.Context, l net.Listener) {
	for {
		raw, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // too many files: others end
			s.note(err)
			time.Sleep(time.Millisecond)
		default:
			s.running.Go(func() { s.note(s.shake(ctx, sock.Direct(raw))) })
		}
	}
}

// shake is one connection.
func (s *server) shake(ctx context.Context, raw net.Conn) error {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := tls.NewServer(raw, s.config)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	_ = c.Close() // the client may have gone
	return nil
}

func (s *server) note(err error) {
	if err == nil {
		s.done.Add(1)
		return
	}
	s.failed.Add(1)
	text := err.Error()
	s.lastError.Store(&text)
}

func (s *server) sample() (serverSample, error) {
	now := serverSample{Handshakes: s.done.Load(), Failed: s.failed.Load(), Batches: s.home.batches()}
	if e := s.lastError.Load(); e != nil {
		now.LastError = *e
	}
	var used unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &used)
	now.CPUMicros = (used.Utime.Nano() + used.Stime.Nano()) / 1e3
	return now, err
}
