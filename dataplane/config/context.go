package config

import (
	"crypto/sha256"
	stdtls "crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// contextBuild is one TLS context of stand-alone mode being read: certificates and trust are what the message says. A mesh has
// its own: see meshTLS.
type contextBuild struct {
	*build
	reader *reader
	sum    hash.Hash // of all that decides who is trusted and who we are; nil: nobody asks
	// changes counts those of each set of files that are watched.
	changes []func() uint64
}

// downstream reads a listener's. alpn is what it offers.
func (c *contextBuild) downstream(m *tlsv3.DownstreamTlsContext, at string, alpn []string) (*stdtls.Config, error) {
	common, path := m.GetCommonTlsContext(), at+".common_tls_context"
	options, err := readTLSParameters(common.GetTlsParams(), path+".tls_params", stdtls.VersionTLS13)
	if err != nil {
		return nil, err
	}
	options.ALPN = alpn
	certificates, err := c.certificates(common, path)
	if err != nil {
		return nil, err
	}
	if certificates == nil {
		return nil, fmt.Errorf("%s.tls_certificates: is empty: a server has to present a certificate", path)
	}
	peer, err := c.peer(common, path)
	if err != nil {
		return nil, err
	}
	required := m.GetRequireClientCertificate().GetValue()
	if peer.untrusted {
		// Filters believe the names in a client's certificate.
		return nil, fmt.Errorf("%s.trust_chain_verification: ACCEPT_UNTRUSTED is not honoured on a listener: any client could be anybody", peer.path)
	}
	if required && peer.validation == nil {
		return nil, fmt.Errorf("%s.require_client_certificate: needs a validation_context that says whom to trust, or any certificate would do", at)
	}
	return tls.ServerContext{
		Options: options, Certificates: certificates, Peer: peer.validation, Required: required,
		RequireSNI: m.GetRequireSni().GetValue(), AuthorityNames: peer.roots, Tickets: !m.GetDisableStatelessSessionResumption(),
	}.Config(), nil
}

// upstream reads a cluster's.
func (c *contextBuild) upstream(m *tlsv3.UpstreamTlsContext, at string, protocol upstream.Protocol) (*upstream.TLS, error) {
	c.sum = sha256.New()
	message, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	c.add(message)
	common, path := m.GetCommonTlsContext(), at+".common_tls_context"
	client := tls.ClientContext{SNI: m.GetSni()}
	if client.Options, err = readTLSParameters(common.GetTlsParams(), path+".tls_params", stdtls.VersionTLS13); err != nil {
		return nil, err
	}
	if client.Certificates, err = c.certificates(common, path); err != nil {
		return nil, err
	}
	peer, err := c.peer(common, path)
	if err != nil {
		return nil, err
	}
	client.Peer, client.Untrusted = peer.validation, peer.untrusted
	if client.Peer == nil && !client.Untrusted {
		return nil, fmt.Errorf("%s.validation_context: says nobody to trust, and any server would be believed: "+
			"set trusted_ca, or trust_chain_verification: ACCEPT_UNTRUSTED if that is what you want", path)
	}
	if err := c.nameOfServer(m, at, &client); err != nil {
		return nil, err
	}
	t := &upstream.TLS{HostSNI: m.GetAutoHostSni(), Unverified: client.Untrusted}
	client.ALPN = common.GetAlpnProtocols()
	t.Opaque = client.Config()
	t.Config = t.Opaque
	if len(client.ALPN) == 0 {
		client.ALPN = alpnOf(protocol)
		t.Config = client.Config()
	}
	t.Key = hex.EncodeToString(c.sum.Sum(nil))
	if changes := c.changes; len(changes) > 0 {
		t.Epoch = func() (n uint64) {
			for _, count := range changes {
				n += count()
			}
			return n
		}
	}
	return t, nil
}

// nameOfServer reads whether the name that is asked for is the one that must be proven.
func (c *contextBuild) nameOfServer(m *tlsv3.UpstreamTlsContext, at string, client *tls.ClientContext) error {
	if !m.GetAutoSniSanValidation() {
		return nil
	}
	switch {
	case client.Peer == nil:
		return fmt.Errorf("%s.auto_sni_san_validation: needs a validation_context that says whom to trust", at)
	case len(client.Peer.Names) > 0:
		return fmt.Errorf("%s.auto_sni_san_validation: takes the place of the validation context's match_typed_subject_alt_names; set only one", at)
	case m.GetSni() == "" && !m.GetAutoHostSni():
		return fmt.Errorf("%s.auto_sni_san_validation: needs sni or auto_host_sni", at)
	}
	client.Peer.ServerName = true
	return nil
}

// secret finds one by name: it came over ADS or stands beside the message in the same file.
func (c *contextBuild) secret(s *tlsv3.SdsSecretConfig, path string) (*tlsv3.Secret, error) {
	if s.GetSdsConfig() != nil {
		if err := overADS(s.GetSdsConfig(), path+".sds_config"); err != nil {
			return nil, err
		}
	}
	secret := c.secrets[s.GetName()]
	if secret == nil {
		return nil, fmt.Errorf("%s: names the secret %q, which was not sent", path, s.GetName())
	}
	if c.reader.secrets == nil {
		c.reader.secrets = map[string]*anypb.Any{}
	}
	if c.reader.secrets[s.GetName()] != nil {
		return secret, nil
	}
	c.reader.secrets[s.GetName()] = c.in[TypeSecret][s.GetName()]
	// It has been checked already. What of it has no effect is shown with whoever uses it, once.
	return secret, c.reader.check(secret.ProtoReflect(), "", fmt.Sprintf("secret %q", s.GetName()))
}

// add takes b into the sum, with its length, so that no two lists of inputs look alike.
func (c *contextBuild) add(b []byte) {
	if c.sum == nil {
		return
	}
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(b)))
	c.sum.Write(size[:])
	c.sum.Write(b)
}
