package http

import (
	"net/netip"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// pickOriginal chooses the endpoint to which the client wanted to go: what a header says, where the cluster wants that, or
// the connection's own destination. It is tried once.
func (x *exchange) pickOriginal(o *upstream.OriginalDst) *upstream.Endpoint {
	if len(x.tried) > 0 {
		return nil
	}
	to := x.Info.Local
	if o.Header != "" {
		if asked, err := netip.ParseAddrPort(x.req.Header.Get(o.Header)); err == nil {
			to = asked
		}
	}
	return x.cluster.PickFor(to)
}
