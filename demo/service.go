package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The services of the shop.
const (
	frontend = "frontend"
	catalog  = "catalog"
	cart     = "cart"
	payments = "payments"
)

// refundsPath is the page of payments that nobody may ask for through the mesh.
const refundsPath = "/admin/refunds"

// ServiceOptions are what a service of the shop is made from.
type ServiceOptions struct {
	Service string // frontend, catalog, cart or payments
	Version string // told in every answer
	Listen  string // host:port
	// Upstreams are the services that this one calls, by name: the local outbounds of its sidecar.
	Upstreams map[string]*url.URL
	Logger    *slog.Logger
}

// Serve runs one service until ctx ends. It speaks plain HTTP on loopback and knows nothing of the mesh.
func Serve(ctx context.Context, o ServiceOptions) error {
	s := &service{
		ServiceOptions: o,
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second,
		}},
	}
	defer s.client.CloseIdleConnections()
	handler, err := s.handler()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("service %s: %w", o.Service, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)}
	o.Logger.Info("service listens", "service", o.Service, "version", o.Version, "address", l.Addr().String())

	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("service %s: %w", o.Service, err)
	}
	return <-stopped
}

// service is a running one.
type service struct {
	ServiceOptions
	client *http.Client
}

func (s *service) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	var needs []string
	switch s.Service {
	case frontend:
		needs = []string{catalog, cart, payments}
		mux.HandleFunc("GET /{$}", s.home)
		mux.HandleFunc("GET /refunds", s.refunds)
	case catalog:
		mux.HandleFunc("GET /products", s.products)
	case cart:
		needs = []string{catalog}
		mux.HandleFunc("GET /items", s.items)
	case payments:
		mux.HandleFunc("GET /methods", s.methods)
		mux.HandleFunc("GET "+refundsPath, s.allRefunds)
	default:
		return nil, fmt.Errorf("the shop has no service %q: it has %s", s.Service, strings.Join([]string{frontend, catalog, cart, payments}, ", "))
	}
	for _, name := range needs {
		if s.Upstreams[name] == nil {
			return nil, fmt.Errorf("service %s calls %s: give its URL", s.Service, name)
		}
	}
	return mux, nil
}

// answer is what every service says.
type answer struct {
	Service string         `json:"service"`
	Version string         `json:"version,omitempty"`
	Got     map[string]any `json:"got,omitempty"`
}

// part is what one call brought.
type part struct {
	Status int             `json:"status"`
	Reason string          `json:"reason,omitempty"` // why the mesh refused it
	Body   json.RawMessage `json:"body,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func (p part) ok() bool { return p.Status == http.StatusOK }

// home is the front page: it needs all the others.
func (s *service) home(w http.ResponseWriter, r *http.Request) {
	got, status := map[string]any{}, http.StatusOK
	for _, c := range []struct{ service, path string }{{catalog, "/products"}, {cart, "/items"}, {payments, "/methods"}} {
		p := s.call(r, c.service, c.path)
		got[c.service] = p
		if !p.ok() {
			status = http.StatusBadGateway
		}
	}
	s.write(w, status, got)
}

// refunds asks for what the mesh refuses, and shows the refusal.
func (s *service) refunds(w http.ResponseWriter, r *http.Request) {
	s.write(w, http.StatusOK, map[string]any{payments: s.call(r, payments, refundsPath)})
}

func (s *service) products(w http.ResponseWriter, _ *http.Request) {
	s.write(w, http.StatusOK, map[string]any{"products": []string{"hauberk", "coif", "mail gloves"}})
}

func (s *service) items(w http.ResponseWriter, r *http.Request) {
	p := s.call(r, catalog, "/products")
	status := http.StatusOK
	if !p.ok() {
		status = http.StatusBadGateway
	}
	s.write(w, status, map[string]any{"items": []string{"coif"}, catalog: p.Status})
}

func (s *service) methods(w http.ResponseWriter, _ *http.Request) {
	s.write(w, http.StatusOK, map[string]any{"methods": []string{"coin", "barter"}})
}

func (s *service) allRefunds(w http.ResponseWriter, _ *http.Request) {
	s.write(w, http.StatusOK, map[string]any{"refunds": []string{"nobody should read this"}})
}

// call asks another service by the outbound of the own sidecar. The request id is handed on, so that a whole page can be
// found by it.
func (s *service) call(r *http.Request, name, path string) part {
	target := s.Upstreams[name].JoinPath(path)
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return part{Error: err.Error()}
	}
	q.Host = name
	q.Header.Set("User-Agent", "shop-"+s.Service)
	if id := r.Header.Get("X-Request-Id"); id != "" {
		q.Header.Set("X-Request-Id", id)
	}
	resp, err := s.client.Do(q)
	if err != nil {
		s.Logger.Warn("call failed", "to", name, "path", path, "error", err)
		return part{Error: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return part{Error: err.Error()}
	}
	p := part{Status: resp.StatusCode, Reason: resp.Header.Get("X-Hauberk-Reason")}
	if json.Valid(body) {
		p.Body = body
	}
	return p
}

func (s *service) write(w http.ResponseWriter, status int, got map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer{Service: s.Service, Version: s.Version, Got: got}); err != nil {
		s.Logger.Debug("caller went away", "error", err)
	}
}
