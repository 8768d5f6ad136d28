package http

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/route"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// exchange is one request and its response. It is reused, so that a request costs no allocation for it.
type exchange struct {
	*Conn
	ctx  context.Context
	down message.Server
	req  *message.Request
	resp message.Response
	// asked is the request's head as the filters have seen it.
	asked message.Request

	spec    *Spec
	route   *route.Route
	cluster *upstream.Cluster
	rec     telemetry.Record
	final   bool // the connection's last
	// redirected: the client is to ask for the path that normalising made.
	redirected bool

	up       upstream.Stream
	tried    []*upstream.Endpoint
	last     *upstream.Endpoint
	sent     time.Time // when the request was sent on
	now      time.Time // the last look at the clock, which costs as much as a header field: good enough for deadlines set next
	first    []byte    // the beginning of the request's content, kept for a further attempt; borrowed
	whole    bool      // first is all of it
	interim  bool      // an interim response was passed on: the attempt can not be made again
	retrying bool      // this attempt holds a place among the cluster's retries
	cause    *Reason   // of a failed attempt
	relayed  int64     // bytes of the response's content sent down

	upload upload
	watch  watch
	woken  atomic.Bool // there is something to look at: see wake
	onGone func()      // wake

	mu     sync.Mutex // guards below, for wake and judge
	waits  message.Client
	denied *filter.Verdict // by a later configuration
	joined bool            // it is among those that are judged again
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.onGone = x.wake // made once
	return x
}}

func newExchange(ctx context.Context, c *Conn, down message.Server) *exchange {
	x := exchanges.Get().(*exchange)
	x.Conn, x.ctx, x.down = c, ctx, down
	x.rec = telemetry.Record{Start: time.Now()}
	return x
}

// free gives x back. There is something left to end only where a bug has cut the request short.
func (x *exchange) free() {
	x.stopUpload()
	x.dropUpstream()
	x.dropFirst()
	if x.retrying {
		x.cluster.ReleaseRetry()
	}
	x.leaveJudged()
	header, tried := x.resp.Header, x.tried
	header.Reset()
	clear(tried)
	x.Conn, x.ctx, x.down, x.req = nil, nil, nil, nil
	x.spec, x.route, x.cluster, x.last, x.cause = nil, nil, nil, nil, nil
	x.resp = message.Response{Header: header}
	asked := x.asked.Header
	clear(asked.Fields)
	asked.Reset()
	x.asked = message.Request{Header: asked}
	x.tried = tried[:0]
	x.final, x.redirected, x.whole, x.interim, x.retrying, x.relayed = false, false, false, false, false, 0
	x.upload.reset()
	x.watch.reset()
	x.woken.Store(false)
	x.mu.Lock() // a client that goes away just now wakes x for the last time
	x.waits, x.denied = nil, nil
	x.mu.Unlock()
	exchanges.Put(x)
}

// setUpstream says with whom the exchange goes on; wake reaches it from then on.
func (x *exchange) setUpstream(s upstream.Stream) {
	x.up = s
	x.mu.Lock()
	x.waits = s.Client
	x.mu.Unlock()
}

// wake makes whoever waits for the upstream look at once what there is (watch.go): the client has gone, or the configuration
// has changed. It may be called from any goroutine while the exchange lasts.
func (x *exchange) wake() {
	x.woken.Store(true) // first: armRead may be about to set another deadline
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waits != nil {
		_ = x.waits.SetReadDeadline(time.Unix(1, 0))
	}
}

// tunnels tells whether the request asks for opaque bytes instead of content.
func (x *exchange) tunnels() bool { return x.req.Upgrade != "" || x.req.Method == "CONNECT" }
