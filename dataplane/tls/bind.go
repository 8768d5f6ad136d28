package tls

import (
	"context"
	"crypto"
	"crypto/tls"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

// bound is c for one handshake. Where its key queues what it is asked for, that is taken back when the handshake ends: of a
// client that went away nothing is computed, and those behind it come sooner. Any other certificate is returned as it is, and so is
// one that somebody asks for outside of a handshake (ctx is nil), to look at it.
func bound(ctx context.Context, c *tls.Certificate) *tls.Certificate {
	key, ok := c.PrivateKey.(keyprovider.Canceller)
	if !ok || ctx == nil {
		return c
	}
	one := *c
	one.PrivateKey = keyprovider.Bind(ctx, crypto.Signer(key))
	return &one
}
