// Package secret keeps the control plane's own private keys in its store, as handles of the provider that holds them.
//
// Its records are of no kind that the API knows: they never leave through REST, and no watcher of resources reads them.
package secret

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Kind of the records.
const Kind = "Secret"

// Secret is a stored private key, with its certificate where it has one.
type Secret struct {
	Provider    string `json:"provider"` // keyprovider.Provider.Name of who holds the key
	Handle      []byte `json:"handle"`   // what the provider finds it by
	Certificate []byte `json:"certificate,omitempty"`
}

// Key is where a secret of a mesh is stored; mesh "" is the control plane as a whole.
func Key(mesh, name string) api.Key { return api.Key{Kind: Kind, Mesh: mesh, Name: name} }

// Op stores a key under the condition. cert may be nil.
func Op(at api.Key, provider string, key keyprovider.Key, cert *x509.Certificate, when store.Condition) (store.Op, error) {
	handle, err := key.Handle()
	if err != nil {
		return store.Op{}, fmt.Errorf("%s: %w", at, err)
	}
	s := Secret{Provider: provider, Handle: handle}
	if cert != nil {
		s.Certificate = cert.Raw
	}
	value, err := json.Marshal(s)
	if err != nil {
		return store.Op{}, fmt.Errorf("%s: %w", at, err)
	}
	return store.Op{Key: at, Value: value, If: when}, nil
}

// Open finds the key of a record. The certificate is nil where the record has none.
func Open(ctx context.Context, rec store.Record, keys keyprovider.Provider) (keyprovider.Key, *x509.Certificate, error) {
	var s Secret
	if err := json.Unmarshal(rec.Value, &s); err != nil {
		return nil, nil, fmt.Errorf("%s: is damaged in the store", rec.Key) // the cause could quote the key
	}
	if !keys.Opens(s.Provider) {
		return nil, nil, fmt.Errorf("%s: its key is held by the provider %q and not by %q: start with that one", rec.Key, s.Provider, keys.Name())
	}
	key, err := keys.Open(ctx, s.Handle)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", rec.Key, err)
	}
	if len(s.Certificate) == 0 {
		return key, nil, nil
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: its certificate: %w", rec.Key, err)
	}
	if certified, ok := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); !ok || !certified.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("%s: key and certificate do not belong together", rec.Key)
	}
	return key, cert, nil
}
