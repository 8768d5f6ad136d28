package identity

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hauberk-mesh/hauberk/internal/memconn"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

// frozen is a connection whose other end's host is gone: nothing comes any more, and nothing arrives, but nobody says so.
type frozen struct {
	net.Conn
	gone, closed chan struct{}
	once         sync.Once
}

func (f *frozen) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	select {
	case <-f.gone:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Write(b []byte) (int, error) {
	select {
	case <-f.gone:
		return len(b), nil
	default:
		return f.Conn.Write(b)
	}
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// listening is a report service that never says a word.
type listening struct {
	reportv1.UnimplementedReportServiceServer
}

func (listening) Report(s grpc.BidiStreamingServer[reportv1.ProxyMessage, reportv1.ControlMessage]) error {
	<-s.Context().Done()
	return nil
}

// Whoever uses Dial learns that the control plane's host is gone, also where it only listens.
func TestDeadControlPlaneIsFound(t *testing.T) {
	p := newPlane(t, time.Hour)
	config := p.anchor.APITLS() // made outside: what it needs is not of the bubble
	cert, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.GetCertificate, config.Certificates = nil, append(config.Certificates, *cert)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(cert.Leaf.NotBefore.Add(time.Hour))) // the bubble's clock begins in 2000
		var network memconn.Network
		socket, err := network.Listen("127.0.0.1:5678")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
		reportv1.RegisterReportServiceServer(server, listening{})
		go func() { _ = server.Serve(socket) }()
		defer server.Stop()

		line := &frozen{gone: make(chan struct{}), closed: make(chan struct{})}
		x := p.proxy(t, "", func(o *Options) { o.ControlPlane = "https://127.0.0.1:5678" })
		conn, err := x.dial(false, func(ctx context.Context, addr string) (c net.Conn, err error) {
			line.Conn, err = network.Dial(ctx, "tcp", addr)
			return line, err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s, err := reportv1.NewReportServiceClient(conn).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		close(line.gone)
		if _, err := s.Recv(); err == nil {
			t.Error("it heard something")
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("found after %s", d)
		}
	})
}
