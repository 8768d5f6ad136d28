package config

import (
	"context"
	"crypto"
	stdtls "crypto/tls"
	"fmt"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	privatekeyv3alpha "github.com/hauberk-mesh/hauberk/wire/privatekey/v3alpha"
)

// privateKey is where a certificate's key comes from and who is to keep it.
type privateKey struct {
	source
	// other is a second place in which the same key stands: Envoy takes it where it can't have the provider.
	other    source
	provider keyprovider.Provider
}

// privateKey reads private_key and private_key_provider. As in Envoy the latter wins where both are set.
func (c *contextBuild) privateKey(m *tlsv3.TlsCertificate, path string) (privateKey, error) {
	plain := source{m.GetPrivateKey(), path + ".private_key"}
	p := m.GetPrivateKeyProvider()
	if p == nil {
		return privateKey{source: plain, provider: c.keys.Current()}, nil
	}
	at := path + ".private_key_provider"
	config, err := c.accelerator(p, at)
	if err != nil {
		return privateKey{}, err
	}
	provider, err := c.keys.Find(batch.Name)
	if err != nil {
		return privateKey{}, fmt.Errorf("%s.provider_name: %w", at, err)
	}
	own := source{config.GetPrivateKey(), at + ".typed_config.private_key"}
	switch {
	case own.data != nil && plain.data != nil:
		return privateKey{source: own, other: plain, provider: provider}, nil
	case own.data != nil:
		return privateKey{source: own, provider: provider}, nil
	case plain.data != nil:
		return privateKey{source: plain, provider: provider}, nil
	}
	return privateKey{}, fmt.Errorf("%s: is not set, and neither is private_key of the certificate", own.path)
}

// entrust gives the key of a certificate to its provider. Where that keeps it outside of the heap, what crypto/tls has parsed is
// overwritten as far as it can be reached; the standard library's own copies are the garbage collector's.
func (c *contextBuild) entrust(pair *stdtls.Certificate, key privateKey) error {
	kept, err := c.keys.Import(context.Background(), key.provider, pair.PrivateKey.(crypto.Signer))
	if err != nil {
		return fmt.Errorf("%s: %w", key.path, err)
	}
	if _, backend := keyring.Of(kept); backend == batch.BackendIFMA {
		memory.Wipe(pair.PrivateKey)
	}
	pair.PrivateKey = kept
	return nil
}

// keyConfig is what Envoy's two accelerators have in common.
type keyConfig interface {
	proto.Message
	GetPrivateKey() *corev3.DataSource
}

// accelerator reads the configuration of one. The name decides, as in Envoy, and then the message has to be that one's. Envoy refuses
// a name that it does not know, with fallback and without; so does this.
func (c *contextBuild) accelerator(p *tlsv3.PrivateKeyProvider, at string) (keyConfig, error) {
	var m keyConfig
	switch name := p.GetProviderName(); name {
	case "cryptomb":
		m = &privatekeyv3alpha.CryptoMbPrivateKeyMethodConfig{}
	case "qat":
		m = &privatekeyv3alpha.QatPrivateKeyMethodConfig{}
	case "":
		return nil, fmt.Errorf("%s.provider_name: is not set: write cryptomb", at)
	default:
		return nil, fmt.Errorf("%s.provider_name: %q is not honoured, only cryptomb and qat", at, name)
	}
	if p.GetTypedConfig() == nil {
		return nil, fmt.Errorf("%s.typed_config: is not set", at)
	}
	return m, c.reader.any(p.GetTypedConfig(), at+".typed_config", m)
}
