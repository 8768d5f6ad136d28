package server

import (
	"context"
	"encoding/json"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/api"
)

// What our own proxies put into their node.
const (
	ourUserAgent = "hauberk"
	// metadataDataplane is the Dataplane resource as JSON.
	metadataDataplane = "hauberk.dataplane"
	// metadataTypes lists the type URLs that the proxy will subscribe to: a generation is whole only if all of them have
	// been asked for, and a proxy of another version may know more or fewer.
	metadataTypes = "hauberk.types"
	// metadataInstance is random, made anew by each process: it tells a proxy that reconnects from a second one of the name.
	metadataInstance = "hauberk.instance"
)

// maxDataplaneJSON bounds what a proxy can make the control plane store.
const maxDataplaneJSON = 256 << 10

// hello is who opened a stream, checked.
type hello struct {
	Peer
	Ours     bool
	Version  string
	Resource []byte   // the Dataplane as JSON; nil if a stock client sent none
	Types    []string // of our own proxies: what they will subscribe to; empty is all
	Instance string   // of the process; "" if it told none, as stock clients do
	From     string   // its address, for people
}

// identify checks the node of a first request against the authenticated peer. Its errors are gRPC statuses.
func (s *Server) identify(ctx context.Context, node *core.Node) (hello, error) {
	who, ok := s.opts.Peer(ctx)
	if !ok {
		return hello{}, status.Error(codes.Unauthenticated, "the stream has no authenticated peer: connect with the dataplane's SVID")
	}
	if node == nil {
		return hello{}, status.Error(codes.InvalidArgument, "the first request carries no node: set node.id to <mesh>/<dataplane>")
	}
	if want := who.Mesh + "/" + who.Dataplane; node.GetId() != want {
		return hello{}, status.Errorf(codes.PermissionDenied, "node.id is %q, but the certificate belongs to %q", node.GetId(), want)
	}
	metadata := node.GetMetadata().GetFields()
	h := hello{
		Peer: who, Ours: node.GetUserAgentName() == ourUserAgent, Version: userAgent(node),
		Instance: metadata[metadataInstance].GetStringValue(), From: remoteAddr(ctx),
	}
	if len(h.Instance) > maxNameLength {
		return hello{}, status.Errorf(codes.InvalidArgument, "node.metadata[%q] has %d bytes: at most %d are taken", metadataInstance, len(h.Instance), maxNameLength)
	}
	if field, ok := metadata[metadataDataplane]; ok {
		h.Resource = []byte(field.GetStringValue())
		if err := checkResource(h.Resource, who); err != nil {
			return hello{}, err
		}
	}
	if h.Ours {
		if h.Resource == nil {
			return hello{}, status.Errorf(codes.InvalidArgument, "node.metadata has no %q: put the Dataplane there, as JSON", metadataDataplane)
		}
		for _, v := range metadata[metadataTypes].GetListValue().GetValues() {
			// Others are none of ours to wait for, and the list is as long as its sender likes.
			if t := v.GetStringValue(); served(t) && !slices.Contains(h.Types, t) {
				h.Types = append(h.Types, t)
			}
		}
	}
	return h, nil
}

// checkResource refuses a Dataplane that claims to be another than the certificate's owner. What else it says is for the
// Registrar to judge.
func checkResource(doc []byte, who Peer) error {
	if len(doc) > maxDataplaneJSON {
		return status.Errorf(codes.InvalidArgument, "the Dataplane in node.metadata has %d bytes: at most %d are taken", len(doc), maxDataplaneJSON)
	}
	var r api.Resource
	if err := json.Unmarshal(doc, &r); err != nil {
		return status.Errorf(codes.InvalidArgument, "node.metadata[%q] is not a resource in JSON: %v", metadataDataplane, err)
	}
	if r.Kind != "Dataplane" {
		return status.Errorf(codes.InvalidArgument, "node.metadata[%q] has kind %q: it must be a Dataplane", metadataDataplane, r.Kind)
	}
	labels := r.Metadata.Labels
	zone := labels[api.LabelZone]
	if zone == "" {
		zone = api.DefaultZone
	}
	workload := labels[api.LabelWorkload]
	if workload == "" {
		workload = labels[api.LabelService]
	}
	claims := []struct{ what, claimed, proven string }{
		{"name", r.Metadata.Name, who.Dataplane},
		{"mesh", r.Mesh(), who.Mesh},
		{"service", labels[api.LabelService], who.Service},
	}
	// A dataplane that names no workload claims none. A certificate that has no zone is one of the default zone.
	if workload != "" {
		claims = append(claims, struct{ what, claimed, proven string }{"workload", workload, who.Workload})
	}
	if who.Zone != "" || zone != api.DefaultZone {
		claims = append(claims, struct{ what, claimed, proven string }{"zone", zone, who.Zone})
	}
	for _, c := range claims {
		if c.claimed != c.proven {
			return status.Errorf(codes.PermissionDenied, "the Dataplane's %s is %q, but the certificate was issued for %q", c.what, c.claimed, c.proven)
		}
	}
	return nil
}

// userAgent is how the proxy calls itself, for people.
func userAgent(n *core.Node) string {
	v := n.GetUserAgentVersion()
	if b := n.GetUserAgentBuildVersion(); v == "" && b.GetVersion() != nil {
		return printable(n.GetUserAgentName() + " " + semver(b.GetVersion().GetMajorNumber(), b.GetVersion().GetMinorNumber(), b.GetVersion().GetPatch()))
	}
	if v == "" {
		return printable(n.GetUserAgentName())
	}
	return printable(n.GetUserAgentName() + " " + v)
}

func remoteAddr(ctx context.Context) string {
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		return from.Addr.String()
	}
	return "an unknown address"
}

// register publishes the dataplane. The session is nil for a stock client whose Dataplane somebody else has applied.
func (s *Server) register(ctx context.Context, h hello) (Session, error) {
	if h.Resource == nil {
		if w := s.opts.World.Current(); w != nil && inWorld(w, h.Mesh, h.Dataplane) {
			return nil, nil
		}
		return nil, status.Errorf(codes.FailedPrecondition,
			"there is no Dataplane %q in mesh %q: apply one, or send it as node.metadata[%q]", h.Dataplane, h.Mesh, metadataDataplane)
	}
	session, err := s.opts.Registrar.Connect(ctx, Registration{Peer: h.Peer, Resource: h.Resource})
	if err == nil {
		return session, nil
	}
	if _, hasCode := status.FromError(err); hasCode {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return nil, status.Errorf(codes.FailedPrecondition, "dataplane %q is not accepted: %v", h.Dataplane, err)
}
