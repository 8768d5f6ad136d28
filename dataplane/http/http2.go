package http

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
)

// serveHTTP2 serves requests side by side, each by a goroutine of the codec's. early is what was read of the connection
// already.
func (c *Conn) serveHTTP2(ctx context.Context, spec *Spec, early []byte) {
	o := spec.HTTP2
	o.Early, o.MaxHeader, o.MaxFields = early, spec.MaxHead, spec.MaxFields
	o.ExtendedConnect, o.Drain, o.Head = true, spec.Drain, spec.RequestHeaders
	o.OnPanic = c.OnPanic
	end := http2.NewServer(c.Conn, o)
	end.SetIdle(spec.IdleTimeout)
	if spec.MaxConnection > 0 {
		limit := time.AfterFunc(spec.MaxConnection, end.Drain)
		defer limit.Stop()
	}
	c.OnDrain(end.Drain)
	defer c.OnDrain(nil)
	var served atomic.Int64
	_ = end.Serve(func(st *http2.Stream) {
		x := newExchange(ctx, c, st)
		defer x.free()
		x.spec, x.req = spec, st.Head()
		st.OnGone(x.onGone)
		if spec.MaxRequests > 0 && served.Add(1) == int64(spec.MaxRequests) {
			end.Drain()
		}
		x.serve()
		if x.final {
			end.Drain()
		}
	})
}
