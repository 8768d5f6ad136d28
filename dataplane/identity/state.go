package identity

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

// The kept identity is one file, so that chain, key and bundles are always of one moment: the chain (leaf first), the
// key's handle, and the bundles' certificates, which carry their trust domain as a header.
const (
	stateFile         = "svid.pem"
	certificateType   = "CERTIFICATE"
	handleType        = "HAUBERK KEY HANDLE"
	providerHeader    = "Provider"
	trustDomainHeader = "Trust-Domain"

	maxState = 1 << 20
)

// keep writes the state, 0600 since the handle of a key in memory is the key.
func (c *Client) keep(m material, key keyprovider.Key) error {
	if c.o.StateDir == "" {
		return nil
	}
	handle, err := key.Handle()
	if err != nil {
		return err
	}
	var out []byte
	for _, der := range m.svid.Certificate.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: der})...)
	}
	out = append(out, pem.EncodeToMemory(&pem.Block{
		Type: handleType, Headers: map[string]string{providerHeader: m.keys}, Bytes: handle,
	})...)
	for _, b := range m.bundles {
		for _, cert := range b.Certificates {
			out = append(out, pem.EncodeToMemory(&pem.Block{
				Type: certificateType, Headers: map[string]string{trustDomainHeader: b.TrustDomain}, Bytes: cert.Raw,
			})...)
		}
	}
	return atomicfile.Write(filepath.Join(c.o.StateDir, stateFile), out, 0o600)
}

// restore takes the kept identity into use and returns when to renew it: at once if there is none. The error says why one
// that is there was not used.
func (c *Client) restore(ctx context.Context) (due time.Time, err error) {
	now := time.Now()
	if c.o.StateDir == "" {
		return now, nil
	}
	path := filepath.Join(c.o.StateDir, stateFile)
	m, err := c.load(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return now, nil
	}
	if err != nil {
		return now, fmt.Errorf("%s: %w", path, err)
	}
	if now.After(m.svid.NotAfter) {
		return now, fmt.Errorf("%s: its SVID %s expired at %s", path, m.svid.ID, m.svid.NotAfter.UTC().Format(time.RFC3339))
	}
	if err := c.isMine(m.svid); err != nil {
		return now, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.adopt(ctx, m, (*tls.Trust).Seed); err != nil {
		return now, fmt.Errorf("%s: %w", path, err)
	}
	// Half of its whole life, as if there had been no restart; one that is past that is renewed at once.
	due = renewAt(m.svid.NotBefore, m.svid)
	c.o.Logger.InfoContext(ctx, "identity", "how", "kept", "identity", m.svid.ID, "expires", m.svid.NotAfter, "renew_at", due)
	return due, nil
}

func (c *Client) load(ctx context.Context, path string) (material, error) {
	info, err := os.Stat(path)
	if err != nil {
		return material{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return material{}, fmt.Errorf("is open to others (%v): remove it", info.Mode().Perm())
	}
	if info.Size() > maxState {
		return material{}, fmt.Errorf("has %d bytes, more than %d", info.Size(), maxState)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return material{}, err
	}
	chain, handle, bundles, err := parseState(data)
	if err != nil {
		return material{}, err
	}
	keys := c.provider()
	if p := handle.Headers[providerHeader]; !keys.Opens(p) {
		return material{}, fmt.Errorf("its key is held by the provider %q and not by %q", p, keys.Name())
	}
	key, err := keys.Open(ctx, handle.Bytes)
	if err != nil {
		return material{}, err
	}
	svid, err := tls.NewSVID(chain, key)
	if err != nil {
		return material{}, err
	}
	return material{svid: svid, keys: keys.Name(), bundles: bundles}, nil
}

func parseState(data []byte) (chain []*x509.Certificate, handle *pem.Block, bundles []tls.Bundle, err error) {
	for n := 1; ; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type == handleType {
			handle = block
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != certificateType {
			return nil, nil, nil, fmt.Errorf("is damaged at block %d (%s)", n, block.Type)
		}
		domain, ofBundle := block.Headers[trustDomainHeader]
		switch {
		case !ofBundle:
			chain = append(chain, cert)
		case len(bundles) > 0 && bundles[len(bundles)-1].TrustDomain == domain:
			last := &bundles[len(bundles)-1]
			last.Certificates = append(last.Certificates, cert)
		default:
			bundles = append(bundles, tls.Bundle{TrustDomain: domain, Certificates: []*x509.Certificate{cert}})
		}
	}
	if len(data) != 0 || handle == nil || len(chain) == 0 {
		return nil, nil, nil, errors.New("is damaged: chain or key handle is missing, or there is something else in it")
	}
	return chain, handle, bundles, nil
}
