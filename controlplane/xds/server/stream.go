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

const (
	// firstRequest is how long an authenticated client may keep a stream open without a word.
	firstRequest = 30 * time.Second
	// absence is how long a stream stays open whose dataplane is not in the world. It is longer than the world needs to
	// take in a registration, and than a proxy that has left needs to hang up.
	absence = 5 * time.Second
)

type deltaStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// stream is the goroutine's own view of one open stream.
type stream struct {
	server   *Server
	wire     deltaStream
	proxy    *proxy
	talk     *conversation
	log      *slog.Logger
	retry    retry
	session  Session // nil: none
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
	t.log = s.log.With("mesh", who.Mesh, "dataplane", who.Dataplane, "from", who.From)
	if err := t.connect(who); err != nil {
		t.log.Warn("dataplane refused", "reason", err)
		return err
	}
	if t.session != nil {
		defer t.session.Close()
	}
	s.counters.streams.Add(1)
	s.counters.connected.Add(1)
	defer s.counters.connected.Add(-1)
	defer s.fleet.disconnect(t.proxy)
	t.talk = newConversation(who, s.counters)

	t.log.Info("dataplane connected", "version", who.Version)
	err = t.serve(first)
	t.log.Info("dataplane disconnected", "reason", err)
	return err
}

// connect registers the dataplane and makes this its stream. From beginning to end nobody else may have the name: a
// registration takes over the one before it.
func (t *stream) connect(who hello) error {
	leave, err := t.server.fleet.enter(&who)
	if err != nil {
		return err
	}
	defer leave()
	if t.session, err = t.server.register(t.wire.Context(), who); err != nil {
		return err
	}
	t.proxy = t.server.fleet.connect(who)
	return nil
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
	var absent <-chan time.Time
	for {
		if err := t.push(); err != nil {
			return err
		}
		switch {
		case !t.server.fleet.absent(t.proxy), t.left():
			absent = nil
		case absent == nil:
			absent = time.After(t.server.absence)
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
		case <-t.retry.due:
			t.retry.due = nil
			t.server.fleet.mark(t.proxy)
		case <-stalled:
			if err := t.send(t.talk.giveUp()); err != nil {
				return err
			}
		case err := <-t.broken:
			return ended(err)
		case <-t.proxy.over:
			return status.Errorf(codes.Aborted, "another stream of dataplane %q took over", t.proxy.hello.Dataplane)
		case <-absent:
			if t.left() {
				absent = nil // it says so on another stream, and drains
				continue
			}
			// Somebody has deleted it. Nothing can be resolved for it, no permission and no revocation either: it has to come
			// back and be registered, or be told why it may not.
			return status.Errorf(codes.Aborted, "Dataplane %q of mesh %q was deleted: connect again to be registered", t.proxy.hello.Dataplane, t.proxy.hello.Mesh)
		case <-t.server.stopped:
			return errStopping()
		}
	}
}

// left tells whether the proxy has said goodbye and keeps the stream while it drains. To connect again is up to it.
func (t *stream) left() bool { return t.session != nil && t.session.Left() }

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
	w, news := t.server.fleet.take(t.proxy)
	if w == nil {
		return nil
	}
	if news {
		t.retry.reset()
	}
	target, err := t.snapshot(w)
	if ctx := t.wire.Context(); ctx.Err() != nil {
		return ended(ctx.Err())
	}
	if err != nil {
		// Not the proxy's fault, and nothing that it could mend: it keeps what it has.
		reason := printable("the control plane cannot make its configuration: " + err.Error())
		t.log.Log(t.wire.Context(), t.retry.level(reason, slog.LevelError), "configuration cannot be made", "generation", w.Generation, "error", err)
		t.retry.refused(reason)
		t.server.fleet.refuse(t.proxy, w.Generation, reason)
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
		m.ControlPlane = t.server.identifier
		if err := t.wire.Send(m); err != nil {
			return ended(err)
		}
	}
	switch {
	case end == nil:
	case end.nack != "":
		if !end.again {
			t.log.Log(t.wire.Context(), t.retry.level(end.nack, slog.LevelWarn), "dataplane refused its configuration", "generation", end.generation, "reason", end.nack)
			t.retry.refused(end.nack)
		}
		t.server.fleet.refuse(t.proxy, end.generation, end.nack)
	default:
		t.retry.reset()
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
