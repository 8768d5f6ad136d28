package identity

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// prove shakes hands with itself, as client and as server, over a pipe: an SVID that no peer would accept never replaces
// one that works.
func prove(ctx context.Context, svid *tls.SVID, trust *tls.Trust) error {
	var id tls.Identity
	id.Set(svid)
	near, far := net.Pipe()
	client := cryptotls.Client(near, tls.ClientConfig(&id, trust, []string{svid.ID}, ""))
	server := cryptotls.Server(far, tls.ServerConfig(&id, trust, tls.Options{}))

	served := make(chan error, 1)
	go func() {
		err := server.HandshakeContext(ctx)
		// Closing wakes the client, which waits in Read; a pipe has no buffer that an alert could be left in.
		far.Close()
		served <- err
	}()
	asClient := client.HandshakeContext(ctx)
	if asClient == nil {
		// The server judges our certificate after our side is done (RFC 8446 section 4.4): wait for its word.
		if _, err := client.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			asClient = err
		}
	}
	near.Close()
	asServer := <-served
	switch {
	case asServer != nil:
		return fmt.Errorf("as client: %w", asServer) // what the server says of the client, and the other way round
	case asClient != nil:
		return fmt.Errorf("as server: %w", asClient)
	}
	return nil
}
