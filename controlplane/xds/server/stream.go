package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// firstRequest is how long an authenticated client may keep a stream open without a word.
const firstRequest = 30 * time.Second

type deltaStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// stream is the goroutine's own view of one open stream.
type stream struct {
	server   *Server
	wire     deltaStream
	proxy    *proxy
	talk     *conversation
	log      *slog.Logger
	requests <-chan *discovery.DeltaDiscoveryRequest
	broken   <-chan error // one value when nothing more can be read
}

// DeltaAggregatedResources serves one proxy: say who you are, be registered, and from then on be told what changes.
func (s *Server) DeltaAggregatedResources(wire deltaStream) error {
	t := &stream{server: s, wire: wire}
	t.requests, t.broken = read(wire)

	first, err := t.first()
	if err != nil {
		return err
	}
	ctx := wire.Context()
	who, err := s.identify(ctx, first.GetNode())
	if err != nil {
		s.log.Warn("xds stream refused", "node", printable(first.GetNode().GetId()), "reason", err)
		return err
	}
	t.log = s.log.With("mesh", who.Mesh, "dataplane", who.Dataplane)
	session, err := s.register(ctx, who)
	if err != nil {
		t.log.Warn("dataplane refused", "reason", err)
		return err
	}
	if session != nil {
		defer session.Close()
	}

	s.counters.streams.Add(1)
	s.counters.connected.Add(1)
	defer s.counters.connected.Add(-1)
	t.proxy = s.fleet.connect(who)
	defer s.fleet.disconnect(t.proxy)
	t.talk = newConversation(who, s.counters)

	t.log.Info("dataplane connected", "version", who.Version)
	err = t.serve(first)
	t.log.Info("dataplane disconnected", "reason", err)
	return err
}

// read moves requests from the wire to a channel until the stream ends.
func read(wire deltaStream) (<-chan *discovery.DeltaDiscoveryRequest, <-chan error) {
	requests := make(chan *discovery.DeltaDiscoveryRequest)
	broken := make(chan error, 1)
	go func() {
		for {
			req, err := wire.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case requests <- req:
			case <-wire.Context().Done():
				broken <- wire.Context().Err()
				return
			}
		}
	}()
	return requests, broken
}

// first waits for the request that carries the node.
func (t *stream) first() (*discovery.DeltaDiscoveryRequest, error) {
	patience := time.NewTimer(firstRequest)
	defer patience.Stop()
	select {
	case req := <-t.requests:
		return req, nil
	case err := <-t.broken:
		return nil, ended(err)
	case <-patience.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no request came within %s", firstRequest)
	case <-t.server.stopped:
		return nil, errStopping()
	}
}

// serve is the stream's loop: take what the client says, tell it what is new, and never more than one generation at once.
func (t *stream) serve(first *discovery.DeltaDiscoveryRequest) error {
	if err := t.handle(first); err != nil {
		return err
	}
	for {
		if err := t.push(); err != nil {
			return err
		}
		var stalled <-chan time.Time
		if t.talk.stalls() {
			stalled = time.After(followUp)
		}
		select {
		case req := <-t.requests:
			if err := t.handle(req); err != nil {
				return err
			}
		case <-t.proxy.wake:
		case <-stalled:
			if err := t.send(t.talk.giveUp()); err != nil {
				return err
			}
		case err := <-t.broken:
			return ended(err)
		case <-t.proxy.over:
			return status.Errorf(codes.Aborted, "another stream of dataplane %q took over", t.proxy.hello.Dataplane)
		case <-t.server.stopped:
			return errStopping()
		}
	}
}

// handle takes one request.
func (t *stream) handle(req *discovery.DeltaDiscoveryRequest) error {
	out, end, err := t.talk.request(req)
	if err != nil {
		return err
	}
	if f := t.talk.flight; f != nil && len(out) > 0 {
		t.server.fleet.busy(t.proxy, f.generation)
	}
	if err := t.send(out, end); err != nil {
		return err
	}
	if t.talk.resync && t.talk.ready() {
		t.talk.resync = false
		t.server.fleet.mark(t.proxy)
	}
	return nil
}

// push begins the next generation, if one is due and nothing is in flight.
func (t *stream) push() error {
	if !t.talk.ready() {
		return nil
	}
	w := t.server.fleet.take(t.proxy)
	if w == nil {
		return nil
	}
	target, err := t.snapshot(w)
	if ctx := t.wire.Context(); ctx.Err() != nil {
		return ended(ctx.Err())
	}
	if err != nil {
		// Not the proxy's fault, and nothing that it could mend: it keeps what it has.
		t.log.Error("configuration cannot be made", "generation", w.Generation, "error", err)
		t.server.fleet.refuse(t.proxy, w.Generation, printable("the control plane cannot make its configuration: "+err.Error()))
		return nil
	}
	out, end := t.talk.start(w.Generation, target)
	if len(out) > 0 {
		t.server.counters.generations.Add(1)
		t.server.fleet.pushed(t.proxy, w.Generation)
	}
	return t.send(out, end)
}

// snapshot makes what the proxy is to have. A panic in one dataplane's policies must not end all the others' streams.
func (t *stream) snapshot(w *world.World) (target translate.Snapshot, err error) {
	select {
	case t.server.building <- struct{}{}:
		defer func() { <-t.server.building }()
	case <-t.wire.Context().Done():
		return nil, t.wire.Context().Err()
	}
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("resolve panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("resolve panicked: %v", r)
		}
	}()
	t.server.counters.resolved.Add(1)
	who := t.proxy.hello
	p, err := t.server.opts.Resolve(w.Meshes[who.Mesh], who.Dataplane)
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	target, err = t.server.opts.Translate(p)
	if err != nil {
		return nil, fmt.Errorf("translate: %w", err)
	}
	return target, nil
}

// send writes responses and notes how a flight ended.
func (t *stream) send(out []*discovery.DeltaDiscoveryResponse, end *outcome) error {
	for _, m := range out {
		if err := t.wire.Send(m); err != nil {
			return ended(err)
		}
	}
	switch {
	case end == nil:
	case end.nack != "":
		if !end.again {
			t.log.Warn("dataplane refused its configuration", "generation", end.generation, "reason", end.nack)
		}
		t.server.fleet.refuse(t.proxy, end.generation, end.nack)
	default:
		t.server.fleet.settle(t.proxy, end.generation)
	}
	return nil
}

// ended turns the end of a stream into what its handler returns.
func ended(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return err
}

func errStopping() error {
	return status.Error(codes.Unavailable, "the control plane is stopping")
}
