package sim

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
)

// application is the workload behind an inbound: it says whose it is, in HTTP or on an opaque connection.
type application struct {
	name   string
	listen func() (*memconn.Listener, error)
	server *http.Server
	socket *memconn.Listener
}

func newApplication(t *testing.T, p *proxy, in resource.Inbound) *application {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(in.TargetPort)))
	if path, ok := strings.CutPrefix(in.Target, "unix://"); ok {
		addr = path
	}
	a := &application{name: p.name, listen: func() (*memconn.Listener, error) { return p.local.Listen(addr) }}
	if in.Protocol == "http" {
		a.server = &http.Server{Handler: http.HandlerFunc(a.serveHTTP)}
	}
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
	if a.server != nil {
		a.server = &http.Server{Handler: a.server.Handler}
		go func() { _ = a.server.Serve(socket) }()
		return
	}
	go a.serveTCP(socket)
}

func (a *application) down() {
	if a.server != nil {
		_ = a.server.Close()
	}
	_ = a.socket.Close()
}

func (a *application) serveHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("x-app", a.name)
	w.Header().Set("x-saw-path", r.URL.EscapedPath())
	fmt.Fprintln(w, a.name)
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
