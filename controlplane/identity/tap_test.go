package identity

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// A stranger is refused by the headers of its call. Nothing but those is sent here: whoever waits for the message waits
// until the end.
func TestStrangersMessagesAreNotAwaited(t *testing.T) {
	p, other := newPlane(t), newPlane(t)
	o := p.serve(t)
	good, claims := p.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	forged, _ := other.dataplaneToken(t, DataplaneClaims{Dataplane: "cart-1", Service: "cart"})
	user, _, err := p.tokens.IssueUser(p.ctx, "anna", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config := o.anchor.Pool()
	conn, err := grpc.NewClient("passthrough:///"+o.addr, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(config, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	join, renew := identityv1.IdentityService_Join_FullMethodName, identityv1.IdentityService_Renew_FullMethodName
	for name, c := range map[string]struct {
		ctx    context.Context
		method string
		want   codes.Code
	}{
		"join without a token":            {p.ctx, join, codes.Unauthenticated},
		"join with words":                 {bearer(p.ctx, "x"), join, codes.Unauthenticated},
		"join with another plane's token": {bearer(p.ctx, forged), join, codes.Unauthenticated},
		"join with a user's token":        {bearer(p.ctx, user), join, codes.Unauthenticated},
		"renew without a certificate":     {p.ctx, renew, codes.Unauthenticated},
		"renew with a token":              {bearer(p.ctx, good), renew, codes.Unauthenticated},
		"xDS without a certificate":       {p.ctx, "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", codes.Unauthenticated},
		"what there is not":               {p.ctx, "/no.such/Method", codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
			defer cancel()
			s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, c.method)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.RecvMsg(&identityv1.SVID{}); status.Code(err) != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := o.client(t, nil).Join(bearer(p.ctx, good), &identityv1.JoinRequest{Csr: newCSR(t, p.key(t), nil)}); err != nil {
		t.Errorf("a good token: %v", err)
	}
	if _, err := o.client(t, p.svid(t, "default", ownID, claims, time.Hour)).Renew(p.ctx, &identityv1.RenewRequest{Csr: newCSR(t, p.key(t), nil)}); err != nil {
		t.Errorf("a good SVID: %v", err)
	}
}
