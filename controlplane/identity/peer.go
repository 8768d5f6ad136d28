package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Peer is the dataplane on the other end of a connection, as its verified SVID names it. The control plane wrote every
// word of it when it signed the leaf.
type Peer struct {
	Mesh      string
	Dataplane string
	Service   string // "" where the token named none
	Workload  string // last part of the SPIFFE ID
	Zone      string
	SPIFFEID  string
	TokenID   string    // of the token with which it joined
	NotAfter  time.Time // of the leaf
}

type peerKey struct{}

// ContextWithPeer is how the interceptors hand the peer on. Tests of what stands behind them use it too.
func ContextWithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom returns the verified peer of a call. False: the call did not pass the interceptors, or it is a Join.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

// The subject of a leaf carries what the SPIFFE ID has no place for. See subjectOf for the writing side.
func peerOf(leaf *x509.Certificate, zone string) (Peer, error) {
	id, err := leafID(leaf)
	if err != nil {
		return Peer{}, err
	}
	s := leaf.Subject
	if s.CommonName == "" || len(s.Organization) != 1 || s.SerialNumber == "" {
		return Peer{}, fmt.Errorf("certificate of %s: its subject does not name dataplane, mesh and token", id)
	}
	// What issues a leaf keeps to RFC 5280 appendix A.1; a stranger need not, and what it says goes to the log.
	for _, part := range append([]string{s.CommonName, s.Organization[0], s.SerialNumber}, s.OrganizationalUnit...) {
		if len(part) > maxSubject {
			return Peer{}, fmt.Errorf("certificate of %s: a part of its subject is longer than %d characters", id, maxSubject)
		}
	}
	p := Peer{
		Mesh:      s.Organization[0],
		Dataplane: s.CommonName,
		Zone:      zone,
		SPIFFEID:  id.String(),
		TokenID:   s.SerialNumber,
		NotAfter:  leaf.NotAfter,
	}
	if len(s.OrganizationalUnit) > 0 {
		p.Service = s.OrganizationalUnit[0]
	}
	p.Workload = id.Path()[strings.LastIndexByte(id.Path(), '/')+1:]
	return p, nil
}

// What a subject's part holds at most, and a SPIFFE ID (SPIFFE-ID section 2.4).
const (
	maxSubject  = 64
	maxSPIFFEID = 2048
)

// leafID is the one SPIFFE ID of a workload's leaf (SPIFFE X509-SVID section 5.2).
func leafID(leaf *x509.Certificate) (spiffeid.ID, error) {
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		return spiffeid.ID{}, errors.New("certificate is a CA, not a workload's")
	}
	if len(leaf.URIs) != 1 {
		return spiffeid.ID{}, fmt.Errorf("certificate has %d URI SANs instead of one SPIFFE ID", len(leaf.URIs))
	}
	if len(leaf.URIs[0].String()) > maxSPIFFEID {
		return spiffeid.ID{}, fmt.Errorf("certificate has a URI SAN of more than %d bytes", maxSPIFFEID)
	}
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("certificate has the URI SAN %q: %w", leaf.URIs[0], err)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("certificate has the SPIFFE ID %s of a trust domain, not of a workload", id)
	}
	return id, nil
}
