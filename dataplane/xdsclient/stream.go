package xdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	wildcard = "*"
	// maxResponse is far above the size of a part; only a single huge resource comes near.
	maxResponse = 64 << 20
	// maxReason bounds the text of a NACK.
	maxReason = 4 << 10
)

type deltaStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient

// stream is one connection from dial to end. heard tells whether the control plane said anything. The error is never nil.
func (c *Client) stream(ctx context.Context) (heard bool, err error) {
	c.mu.Lock()
	c.status.Attempts++
	c.mu.Unlock()

	conn, err := c.opts.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("dial control plane: %w", err)
	}
	defer conn.Close()
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.opts.Stock != nil {
		return c.followStock(ctx, streamCtx, conn)
	}
	return c.followOurs(ctx, streamCtx, conn)
}

// followOurs holds a stream with Hauberk's own control plane. ctx is Run's.
func (c *Client) followOurs(ctx, streamCtx context.Context, conn *grpc.ClientConn) (heard bool, err error) {
	wire, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(streamCtx, grpc.MaxCallRecvMsgSize(maxResponse))
	if err != nil {
		return false, streamError(err)
	}
	if err := c.subscribe(wire); err != nil {
		return false, broken(wire, err)
	}
	var s stage
	for {
		r, err := wire.Recv()
		if err != nil {
			return heard, streamError(err)
		}
		if !heard {
			heard = true
			c.heard(r.GetControlPlane().GetIdentifier())
		}
		if err := c.receive(ctx, wire, &s, r); err != nil {
			return heard, broken(wire, err)
		}
	}
}

// subscribe asks for all resources of all types, and tells what is already here.
func (c *Client) subscribe(wire deltaStream) error {
	state := c.State()
	for i, t := range c.types {
		req := &discovery.DeltaDiscoveryRequest{
			TypeUrl:                 t,
			ResourceNamesSubscribe:  []string{wildcard},
			InitialResourceVersions: state.Versions[t],
		}
		if i == 0 {
			req.Node = c.node
		}
		if err := wire.Send(req); err != nil {
			return err
		}
	}
	return nil
}

// receive takes one response: stage it, and when the stage is whole put it in force and answer. Its error is the wire's.
func (c *Client) receive(ctx context.Context, wire deltaStream, s *stage, r *discovery.DeltaDiscoveryResponse) error {
	m, ours := parseMark(r.GetNonce())
	whole := []*discovery.DeltaDiscoveryResponse{r}
	what := "response " + strconv.Quote(r.GetNonce())
	if ours {
		var err error
		what = "generation " + strconv.FormatUint(m.generation, 10)
		if whole, err = s.add(m, r); err != nil {
			c.nacked(what, err)
			return answer(wire, []*discovery.DeltaDiscoveryResponse{r}, err)
		}
		if whole == nil {
			return nil
		}
	}
	generation := m.generation
	if !ours {
		generation, _ = strconv.ParseUint(r.GetSystemVersionInfo(), 10, 64) // another's versions may be anything
	}
	refusal := c.take(ctx, generation, whole)
	if ctx.Err() != nil {
		return ctx.Err() // an Apply that was cut off by our own end says nothing of the configuration
	}
	if refusal != nil {
		c.nacked(what, refusal)
	}
	if err := answer(wire, whole, refusal); err != nil {
		return err
	}
	if refusal == nil {
		c.acked(generation)
	}
	return nil
}

// take merges responses into the state and hands it to the Handler.
func (c *Client) take(ctx context.Context, generation uint64, whole []*discovery.DeltaDiscoveryResponse) error {
	e := c.State().edit(generation)
	for _, r := range whole {
		if !c.subscribed(r.GetTypeUrl()) {
			return fmt.Errorf("type %q was not asked for", r.GetTypeUrl())
		}
		if err := checkResponse(r); err != nil {
			return err
		}
		for _, res := range r.GetResources() {
			e.put(r.GetTypeUrl(), res.GetName(), res.GetVersion(), res.GetResource())
		}
		for _, name := range r.GetRemovedResources() {
			e.remove(r.GetTypeUrl(), name)
		}
	}
	next, u := e.done()
	return c.apply(ctx, next, u)
}

func (c *Client) subscribed(typeURL string) bool {
	for _, t := range c.types {
		if t == typeURL {
			return true
		}
	}
	return false
}

// answer ACKs the responses, or NACKs each with the reason.
func answer(wire deltaStream, responses []*discovery.DeltaDiscoveryResponse, refusal error) error {
	for _, r := range responses {
		req := &discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: detail(refusal)}
		if err := wire.Send(req); err != nil {
			return err
		}
	}
	return nil
}

// detail is what the control plane is told of a refusal; nil where there is none.
func detail(refusal error) *rpcstatus.Status {
	if refusal == nil {
		return nil
	}
	reason := strings.ToValidUTF8(refusal.Error(), "?")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "..."
	}
	return &rpcstatus.Status{Code: int32(codes.InvalidArgument), Message: reason}
}

// broken finds out why a Send failed: gRPC says only io.EOF there, and the reason when one receives.
func broken[R any](wire interface{ Recv() (R, error) }, err error) error {
	for errors.Is(err, io.EOF) {
		if _, reason := wire.Recv(); reason != nil {
			return streamError(reason)
		}
	}
	return streamError(err)
}

// streamError puts the end of a stream into words.
func streamError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the control plane ended the stream")
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.Unknown {
		return fmt.Errorf("%s: %s", s.Code(), s.Message())
	}
	return err
}
