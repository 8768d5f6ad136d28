package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/hauberk-mesh/hauberk/api"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// Gate stands before every call to port 5678. Join needs a dataplane token; every other method needs the verified,
// unexpired, unrevoked SVID of the connection, which XDSTLS has checked against the mesh's authority.
type Gate struct {
	tokens      *Tokens
	revocations *Revocations
	zone        string
	logger      *slog.Logger

	mu   sync.Mutex // guards open
	open map[dataplane]int
}

// dataplane names one in all meshes.
type dataplane struct{ mesh, name string }

// maxStreams is how many open streams one dataplane may have. It needs two; those of connections that have died without a
// word stay until the transport finds out.
const maxStreams = 64

// GateOptions are what NewGate needs. All but Zone are required.
type GateOptions struct {
	Tokens      *Tokens
	Revocations *Revocations
	Zone        string // default api.DefaultZone
	Logger      *slog.Logger
}

// NewGate returns a Gate.
func NewGate(o GateOptions) *Gate {
	if o.Zone == "" {
		o.Zone = api.DefaultZone
	}
	return &Gate{tokens: o.Tokens, revocations: o.Revocations, zone: o.Zone, logger: o.Logger, open: map[dataplane]int{}}
}

// Tap refuses by a call's headers alone whom Unary would refuse anyway: an interceptor of unary calls runs when the whole
// message has been taken in, and what a stranger sends is not to be kept in memory. It asks nothing of the store, since gRPC
// reads nothing more from the connection meanwhile; whether a token or an SVID still counts, the interceptors say.
func (g *Gate) Tap() tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		var err error
		if info.FullMethodName == identityv1.IdentityService_Join_FullMethodName {
			var token string
			if token, err = bearerToken(ctx); err == nil {
				err = g.tokens.signed(token, audienceDataplane)
			}
		} else {
			_, err = leafOf(ctx)
		}
		if err != nil {
			return ctx, g.refuse(ctx, info.FullMethodName, Peer{}, err)
		}
		return ctx, nil
	}
}

// Unary is the interceptor of unary calls.
func (g *Gate) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, _, err := g.admit(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream is the interceptor of streams. One that is open is ended when its peer is revoked; that its leaf is renewed or
// expires meanwhile changes nothing.
func (g *Gate) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, p, err := g.admit(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		if !g.enter(dataplane{p.Mesh, p.Dataplane}) {
			return status.Errorf(codes.ResourceExhausted, "dataplane %s has %d open streams: close some", p.Dataplane, maxStreams)
		}
		defer g.leave(dataplane{p.Mesh, p.Dataplane})
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		guarded := &guardedStream{ServerStream: ss, ctx: ctx}
		revoked := make(chan error, 1)
		forget := g.revocations.register(p, func(reason error) { revoked <- reason })
		defer forget()
		// The handler may be waiting in RecvMsg, which only the end of the stream wakes, and a stream ends when its
		// interceptor returns. So the handler runs beside it.
		done := make(chan error, 1)
		go func() { done <- handler(srv, guarded) }()
		select {
		case err := <-done:
			return err
		case reason := <-revoked:
			guarded.over.Store(true)
			err := status.Error(codes.Unauthenticated, reason.Error())
			cancel(err)
			return err
		}
	}
}

// enter counts a stream, unless the dataplane has too many.
func (g *Gate) enter(d dataplane) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[d] >= maxStreams {
		return false
	}
	g.open[d]++
	return true
}

func (g *Gate) leave(d dataplane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[d]--; g.open[d] == 0 {
		delete(g.open, d)
	}
}

// guardedStream has the peer in its context, and sends nothing more once it is over.
type guardedStream struct {
	grpc.ServerStream
	ctx  context.Context
	over atomic.Bool
}

func (s *guardedStream) Context() context.Context { return s.ctx }

func (s *guardedStream) SendMsg(m any) error {
	if s.over.Load() {
		return context.Cause(s.ctx)
	}
	return s.ServerStream.SendMsg(m)
}

// admit returns the context with which the call goes on. Its error is a gRPC status, and has been logged.
func (g *Gate) admit(ctx context.Context, method string) (context.Context, Peer, error) {
	if method == identityv1.IdentityService_Join_FullMethodName {
		claims, err := g.joiner(ctx)
		if err != nil {
			return ctx, Peer{}, g.refuse(ctx, method, Peer{}, err)
		}
		return context.WithValue(ctx, joinerKey{}, claims), Peer{}, nil
	}
	p, err := g.peer(ctx)
	if err != nil {
		return ctx, p, g.refuse(ctx, method, p, err)
	}
	return ContextWithPeer(ctx, p), p, nil
}

// leafOf is the client certificate of the call's connection.
func leafOf(ctx context.Context) (*x509.Certificate, error) {
	info, err := connection(ctx)
	if err != nil {
		return nil, err
	}
	if len(info.State.PeerCertificates) == 0 {
		return nil, errors.New("the connection presented no client certificate: use the SVID")
	}
	return info.State.PeerCertificates[0], nil
}

func connection(ctx context.Context) (credentials.TLSInfo, error) {
	from, _ := peer.FromContext(ctx)
	if from == nil {
		return credentials.TLSInfo{}, errors.New("the call has no connection")
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return credentials.TLSInfo{}, errors.New("the connection is not TLS")
	}
	return info, nil
}

func (g *Gate) peer(ctx context.Context) (Peer, error) {
	leaf, err := leafOf(ctx)
	if err != nil {
		return Peer{}, err
	}
	p, err := peerOf(leaf, g.zone)
	if err != nil {
		return Peer{}, err
	}
	// Asked at each call: the connection may be older than the leaf's life.
	if now := time.Now(); now.After(p.NotAfter) {
		return p, fmt.Errorf("the SVID of this connection expired at %s: connect again with the renewed one", p.NotAfter.UTC().Format(time.RFC3339))
	}
	return p, g.revocations.Check(p)
}

type joinerKey struct{}

func (g *Gate) joiner(ctx context.Context) (DataplaneClaims, error) {
	token, err := bearerToken(ctx)
	if err != nil {
		return DataplaneClaims{}, err
	}
	claims, err := g.tokens.VerifyDataplane(ctx, token)
	if err == nil {
		g.revocations.admitted(claims.TokenID)
	}
	return claims, err
}

// bearerToken is the one token that a call over TLS carries.
func bearerToken(ctx context.Context) (string, error) {
	if _, err := connection(ctx); err != nil {
		return "", err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", fmt.Errorf("the call has %d authorization headers instead of one dataplane token", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", errors.New("the authorization header is not a bearer token")
	}
	return strings.TrimSpace(token), nil
}

// refuse logs why, and tells the caller too: it holds a key of this mesh or a token, or learns only that it has none.
func (g *Gate) refuse(ctx context.Context, method string, p Peer, reason error) error {
	g.logger.WarnContext(ctx, "call refused", "method", method, "from", remoteAddr(ctx), "mesh", p.Mesh,
		"dataplane", p.Dataplane, "service", p.Service, "identity", p.SPIFFEID, "reason", reason)
	return status.Error(codes.Unauthenticated, reason.Error())
}

func remoteAddr(ctx context.Context) string {
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		return from.Addr.String()
	}
	return "unknown"
}
