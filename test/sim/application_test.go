package sim

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

// application is the workload behind an inbound: it says whose it is, in HTTP or on an opaque connection. One that speaks gRPC
// is gRPC's own health service, and answers whatever else it is asked.
type application struct {
	name   string
	listen func() (*memconn.Listener, error)
	speaks string      // of the inbound's protocols
	server interface { // nil: opaque
		Serve(net.Listener) error
	}
	socket *memconn.Listener
}

func newApplication(t *testing.T, p *proxy, in resource.Inbound) *application {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(in.TargetPort)))
	if path, ok := strings.CutPrefix(in.Target, "unix://"); ok {
		addr = path
	}
	a := &application{name: p.name, speaks: in.Protocol, listen: func() (*memconn.Listener, error) { return p.local.Listen(addr) }}
	a.up(t)
	t.Cleanup(a.down)
	return a
}

func (a *application) up(t *testing.T) {
	t.Helper()
	socket, err := a.listen()
	if err != nil {
		t.Fatal(err)
	}
	a.socket = socket
	if a.server = a.newServer(); a.server == nil {
		go a.serveTCP(socket)
		return
	}
	serve := a.server.Serve
	go func() { _ = serve(socket) }()
}

// newServer makes a server that speaks what the inbound promises, and nothing else.
func (a *application) newServer() interface{ Serve(net.Listener) error } {
	var protocols http.Protocols
	switch a.speaks {
	case resource.ProtocolHTTP:
		protocols.SetHTTP1(true)
	case resource.ProtocolHTTP2:
		protocols.SetUnencryptedHTTP2(true)
	case resource.ProtocolGRPC:
		s := grpc.NewServer(grpc.UnknownServiceHandler(answerEach))
		healthv1.RegisterHealthServer(s, health.NewServer())
		return s
	default:
		return nil
	}
	return &http.Server{Handler: http.HandlerFunc(a.serveHTTP), Protocols: &protocols}
}

func (a *application) down() {
	switch s := a.server.(type) {
	case *http.Server:
		_ = s.Close()
	case *grpc.Server:
		s.Stop()
	}
	_ = a.socket.Close()
}

func (a *application) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/echo" {
		websocket.Handler(echo).ServeHTTP(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("x-app", a.name)
	w.Header().Set("x-saw-protocol", r.Proto)
	w.Header().Set("x-saw-path", r.URL.EscapedPath())
	fmt.Fprintln(w, a.name)
}

// answerEach is what any other gRPC method does: each message gets an answer.
func answerEach(_ any, stream grpc.ServerStream) error {
	for {
		if err := stream.RecvMsg(&healthv1.HealthCheckRequest{}); err != nil {
			return nil // the caller has no more
		}
		if err := stream.SendMsg(&healthv1.HealthCheckResponse{}); err != nil {
			return err
		}
	}
}

// echo sends each message back.
func echo(c *websocket.Conn) {
	var said []byte
	for websocket.Message.Receive(c, &said) == nil && websocket.Message.Send(c, said) == nil {
	}
}

// serveTCP answers each connection with its name, then echoes.
func (a *application) serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintln(c, a.name)
			_, _ = io.Copy(c, c)
		}()
	}
}
