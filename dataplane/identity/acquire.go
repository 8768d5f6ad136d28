package identity

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	identityv1 "github.com/hauberk-mesh/hauberk/wire/identity/v1"
)

// attemptTimeout bounds one join or renewal. It is short, since there is always a next one.
const attemptTimeout = 5 * time.Second

// acquire gets one SVID and makes it the proxy's. It returns when to come again.
func (c *Client) acquire(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	keys := c.provider()
	key, err := keys.Generate(ctx, keyprovider.ECDSAP256) // a new one each time
	if err != nil {
		return time.Time{}, err
	}
	// The request asks for no name: the control plane writes it.
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return time.Time{}, fmt.Errorf("signing request: %w", err)
	}
	how, answer, err := c.ask(ctx, csr)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", how, err)
	}
	got, err := read(answer, key)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: answer of the control plane: %w", how, err)
	}
	got.keys = keys.Name()
	if err := c.isMine(got.svid); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", how, err)
	}
	trust := (*tls.Trust).Seed
	if how == joined {
		// Who joins believes its control plane, whatever another one has said before.
		trust = (*tls.Trust).Add
	}
	if err := c.adopt(ctx, got, trust); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", how, err)
	}
	if err := c.keep(got, key); err != nil {
		c.o.Logger.WarnContext(ctx, "identity is not kept: a restart needs the control plane", "reason", err)
	}
	now := time.Now()
	due := renewAt(now, got.svid)
	if at := answer.GetRenewAt().AsTime(); at.After(now) && at.Before(got.svid.NotAfter) {
		due = at // spread over the proxies by the control plane
	}
	c.o.Logger.InfoContext(ctx, "identity", "how", how, "identity", got.svid.ID, "expires", got.svid.NotAfter, "renew_at", due)
	return due, nil
}

// How an SVID was come by.
const (
	joined  = "join"
	renewed = "renew"
)

// ask renews while there is a valid SVID, and joins otherwise. It joins too if the control plane does not know that SVID
// (any more): better than to stay cut off from it until the SVID ends.
func (c *Client) ask(ctx context.Context, csr []byte) (how string, _ *identityv1.SVID, _ error) {
	if c.left() > 0 {
		answer, connected, err := c.renew(ctx, csr)
		if err == nil {
			return renewed, answer, nil
		}
		if !refused(err, connected) {
			return renewed, nil, err
		}
		renewal := err
		answer, err = c.join(ctx, csr)
		if err == nil {
			return joined, answer, nil
		}
		return renewed, nil, fmt.Errorf("%w; join: %w", renewal, err)
	}
	answer, err := c.join(ctx, csr)
	return joined, answer, err
}

// refused tells a control plane that does not accept our SVID from one that can't be reached. A certificate that is
// refused in the handshake shows as an alert, a reset or a broken pipe, whichever is first, and gRPC reports all of them as
// unavailable; so a connection that was made and then failed may be a refusal.
func refused(err error, connected bool) bool {
	code := status.Code(err)
	return code == codes.Unauthenticated || code == codes.Unavailable && connected
}

func (c *Client) join(ctx context.Context, csr []byte) (*identityv1.SVID, error) {
	token, err := c.o.Token()
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(false, c.o.Dial)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	return identityv1.NewIdentityServiceClient(conn).Join(ctx, &identityv1.JoinRequest{Csr: csr})
}

// renew also tells whether there was a connection at all.
func (c *Client) renew(ctx context.Context, csr []byte) (_ *identityv1.SVID, connected bool, _ error) {
	var reached atomic.Bool
	conn, err := c.dial(true, func(ctx context.Context, addr string) (net.Conn, error) {
		raw, err := c.o.Dial(ctx, addr)
		if err == nil {
			reached.Store(true)
		}
		return raw, err
	})
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	answer, err := identityv1.NewIdentityServiceClient(conn).Renew(ctx, &identityv1.RenewRequest{Csr: csr})
	return answer, reached.Load(), err
}

// material is an SVID with the bundles of its moment.
type material struct {
	svid    *tls.SVID
	keys    string // the provider that has its key
	bundles []tls.Bundle
}

func read(answer *identityv1.SVID, key keyprovider.Key) (material, error) {
	chain, err := parseAll(answer.GetCertificates())
	if err != nil {
		return material{}, err
	}
	svid, err := tls.NewSVID(chain, key)
	if err != nil {
		return material{}, err
	}
	if svid.ID != answer.GetSpiffeId() {
		return material{}, fmt.Errorf("says %s and certifies %s", answer.GetSpiffeId(), svid.ID)
	}
	m := material{svid: svid}
	for _, b := range answer.GetBundles() {
		certs, err := parseAll(b.GetCertificates())
		if err != nil {
			return material{}, fmt.Errorf("bundle of %s: %w", b.GetTrustDomain(), err)
		}
		m.bundles = append(m.bundles, tls.Bundle{TrustDomain: b.GetTrustDomain(), Certificates: certs})
	}
	return m, nil
}

func parseAll(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("no certificates")
	}
	var out []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// isMine compares the leaf's subject, which the control plane wrote, with who this proxy was started as.
func (c *Client) isMine(s *tls.SVID) error {
	subject := s.Certificate.Leaf.Subject
	for _, part := range []struct {
		what, want string
		got        []string
	}{
		{"mesh", c.o.Mesh, subject.Organization},
		{"dataplane", c.o.Dataplane, []string{subject.CommonName}},
		{"service", c.o.Service, subject.OrganizationalUnit},
	} {
		got := strings.Join(part.got, ",")
		if part.want != "" && got != part.want {
			return fmt.Errorf("the SVID %s is for %s %q and this proxy is %q: use its own token and state directory", s.ID, part.what, got, part.want)
		}
	}
	return nil
}

// adopt proves the SVID against whom this proxy would then trust, and only then uses it. trust takes the bundles that came
// with it.
func (c *Client) adopt(ctx context.Context, m material, trust func(*tls.Trust, []tls.Bundle) error) error {
	trial := c.o.Trust.Clone()
	if err := trust(trial, m.bundles); err != nil {
		return err
	}
	if err := prove(ctx, m.svid, trial); err != nil {
		return fmt.Errorf("the new SVID %s did not prove itself and is not used: %w", m.svid.ID, err)
	}
	if err := trust(c.o.Trust, m.bundles); err != nil {
		return err
	}
	c.take(m)
	return nil
}
