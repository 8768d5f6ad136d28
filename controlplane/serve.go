package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hauberk-mesh/hauberk/controlplane/identity"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/server"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// grace is how long calls may take to end when the control plane stops. Proxies lose nothing by it: they reconnect.
const grace = 3 * time.Second

// serveProxies serves port 5678: identity, configuration and reports, behind one gate.
func (c *ControlPlane) serveProxies(ctx context.Context, work *errgroup.Group, port net.Listener, p *proxies, t *trust) {
	gate := identity.NewGate(identity.GateOptions{Tokens: t.tokens, Revocations: t.revocations, Logger: c.log})
	g := grpc.NewServer(append(server.GRPCOptions(),
		grpc.Creds(credentials.NewTLS(t.anchor.XDSTLS(t.authority, c.log))),
		grpc.InTapHandle(gate.Tap()),
		grpc.UnaryInterceptor(gate.Unary()),
		grpc.StreamInterceptor(gate.Stream()),
		grpc.ConnectionTimeout(20*time.Second),
		grpc.MaxHeaderListSize(64<<10),
	)...)
	identityv1.RegisterIdentityServiceServer(g, t.service)
	p.xds.Register(g)
	p.reports.Register(g)

	work.Go(func() error {
		if err := g.Serve(port); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("xDS port: %w", err)
		}
		return nil
	})
	work.Go(func() error {
		<-ctx.Done()
		hard := time.AfterFunc(grace, g.Stop) // reports have no end of their own
		defer hard.Stop()
		g.GracefulStop()
		return nil
	})
}

// serveAPI serves port 5681.
func (c *ControlPlane) serveAPI(ctx context.Context, work *errgroup.Group, port net.Listener, handler http.Handler, t *trust) {
	s := &http.Server{
		Handler:           handler,
		TLSConfig:         t.anchor.APITLS(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      6 * time.Minute, // longer than the longest long poll
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Long polls end when the control plane does.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(debugWriter{c.log}, "", 0),
	}
	work.Go(func() error {
		if err := s.ServeTLS(port, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("API port: %w", err)
		}
		return nil
	})
	work.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if err := s.Shutdown(stopping); err != nil {
			return s.Close()
		}
		return nil
	})
}

// debugWriter takes what net/http has to say about strangers that knock: it is of no interest unless somebody debugs.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(b []byte) (int, error) {
	w.log.Debug("api port", "message", string(b))
	return len(b), nil
}
