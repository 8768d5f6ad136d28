package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// leafID is the SPIFFE ID of a leaf that has the form of an X509-SVID (SPIFFE X509-SVID sections 2 to 4).
func leafID(leaf *x509.Certificate) (spiffeid.ID, error) {
	if leaf.IsCA {
		return spiffeid.ID{}, errors.New("is a CA, not a workload's certificate")
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return spiffeid.ID{}, errors.New("may not be used for signatures (key usage)")
	}
	if leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return spiffeid.ID{}, errors.New("may sign certificates (key usage), which a workload's may not")
	}
	if len(leaf.URIs) != 1 {
		return spiffeid.ID{}, fmt.Errorf("has %d URI SANs instead of one SPIFFE ID", len(leaf.URIs))
	}
	if len(leaf.URIs[0].String()) > maxID {
		return spiffeid.ID{}, fmt.Errorf("has a URI SAN of more than %d bytes", maxID)
	}
	id, err := spiffeid.FromURI(leaf.URIs[0])
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("has the URI SAN %q: %w", leaf.URIs[0], err)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("has the SPIFFE ID %s of a trust domain, which is no workload's", id)
	}
	return id, nil
}

// PeerID is the SPIFFE ID that a handshake with a configuration of this package proved; "" on connections without a peer.
// It reads the peer's leaf and verifies nothing: with another configuration it means nothing.
func PeerID(s tls.ConnectionState) string {
	if !s.HandshakeComplete || len(s.PeerCertificates) == 0 {
		return ""
	}
	id, err := leafID(s.PeerCertificates[0])
	if err != nil {
		return ""
	}
	return id.String()
}

// Refusal is why a peer was not believed.
type Refusal struct {
	PeerID string // what it claimed; "" where it claimed nothing readable
	Reason string // a clause
}

func (r *Refusal) Error() string {
	if r.PeerID == "" {
		return "peer refused: " + r.Reason
	}
	return "peer presented " + r.PeerID + ", refused: " + r.Reason
}

// What a refusal repeats of a stranger's certificate is bounded: it goes to the log. SPIFFE-ID section 2.4 bounds IDs.
const (
	maxID     = 2048
	maxReason = 2 * maxID
)

func refuse(id, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "..."
	}
	return &Refusal{PeerID: id, Reason: reason}
}

// oneOf lists acceptable values in an error, the first few of many.
func oneOf(list []string) string {
	const shown = 4
	switch {
	case len(list) == 0:
		return "nobody (the list is empty)"
	case len(list) == 1:
		return list[0]
	case len(list) > shown:
		return fmt.Sprintf("one of %s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
	}
	return "one of " + strings.Join(list, ", ")
}
