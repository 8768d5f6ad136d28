// Package tls is mutual TLS between proxies: who we are (Identity), whom we believe (Trust), and the two crypto/tls
// configurations made of them. A peer is its SPIFFE ID, proved by a chain to a bundle of that ID's own trust domain.
//
// What it is not: it fetches nothing and renews nothing (dataplane/identity does), it decides nothing about permission
// (a filter does), and it never forks crypto/tls.
//
// Start at ServerConfig and ClientConfig, then Trust.Verify.
package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// SVID is a chain with its key. Immutable.
type SVID struct {
	ID          string // SPIFFE ID
	Certificate tls.Certificate
	NotBefore   time.Time
	NotAfter    time.Time // of the leaf
}

// NewSVID checks that chain (leaf first) is an SVID and that key belongs to it.
func NewSVID(chain []*x509.Certificate, key crypto.Signer) (*SVID, error) {
	if len(chain) == 0 {
		return nil, errors.New("svid: has no certificate")
	}
	leaf := chain[0]
	id, err := leafID(leaf)
	if err != nil {
		return nil, fmt.Errorf("svid: leaf %w", err)
	}
	certified, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !certified.Equal(key.Public()) {
		return nil, fmt.Errorf("svid of %s: the key is not the one that the leaf certifies", id)
	}
	s := &SVID{ID: id.String(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	s.Certificate = tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		s.Certificate.Certificate = append(s.Certificate.Certificate, bytes.Clone(c.Raw))
	}
	return s, nil
}

// Identity is the proxy's present SVID. The zero value has none yet. All methods are safe for concurrent use.
type Identity struct {
	mu      sync.Mutex // serialises Set
	current atomic.Pointer[held]
}

// held keeps SVID and epoch together, so that nobody sees one without the other.
type held struct {
	svid  *SVID
	epoch uint64
}

// Set makes s the SVID of all handshakes that begin from now on, and begins a new epoch.
func (i *Identity) Set(s *SVID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current.Store(&held{svid: s, epoch: i.Epoch() + 1})
}

// Get returns the present SVID, nil before the first.
func (i *Identity) Get() *SVID {
	if h := i.current.Load(); h != nil {
		return h.svid
	}
	return nil
}

// Epoch counts calls of Set. A connection that was dialled in an older epoch shows an older SVID.
func (i *Identity) Epoch() uint64 {
	if h := i.current.Load(); h != nil {
		return h.epoch
	}
	return 0
}

// ID is the present SPIFFE ID, "" before the first SVID.
func (i *Identity) ID() string {
	if s := i.Get(); s != nil {
		return s.ID
	}
	return ""
}

// certificate is what a handshake presents. ctx is the handshake's.
func (i *Identity) certificate(ctx context.Context) (*tls.Certificate, error) {
	s := i.Get()
	if s == nil {
		return nil, errors.New("own SVID is not there yet: the proxy has not joined the mesh")
	}
	return bound(ctx, &s.Certificate), nil
}
