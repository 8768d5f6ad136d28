package http

import (
	"errors"
	"net"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/resilience"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
)

// upgrade sends a 101, or the 2xx to a CONNECT, on and copies opaque bytes from then on.
func (x *exchange) upgrade() {
	up := x.up.Tunnel()
	defer x.closeUpstream(false)
	x.acceptKey()
	x.tunnel(up)
}

// connectTCP answers a CONNECT for an endpoint that speaks no HTTP: its content becomes a connection there.
func (x *exchange) connectTCP() {
	outcome := resilience.NoEndpoint
	for outcome != resilience.Failed {
		if x.last = x.pick(); x.last == nil {
			break
		}
		x.tried = append(x.tried, x.last)
		x.rec.Attempts++
		x.rec.UpstreamHost = x.last.Addr()
		ctx, cancel := x.connecting()
		up, err := x.cluster.Connect(ctx, x.last)
		cancel()
		if err != nil {
			outcome = x.unconnected(err)
			continue
		}
		x.resp = message.Response{Status: 200, Length: message.Absent, Header: x.resp.Header}
		x.resp.Header.Reset()
		x.rec.Status, x.rec.UpstreamLocal = 200, up.Local
		x.tunnel(up.Conn) // which can be closed by half
		_ = up.Close()
		return
	}
	x.giveUp(outcome)
}

// tunnel answers the client and copies opaque bytes between it and up. The request's timeout does not hold any more; its idle
// time and its longest life do, and so does the permission: a change of configuration asks the filters again.
func (x *exchange) tunnel(up net.Conn) {
	x.armWrite(time.Now())
	err := x.down.Respond(&x.resp, false)
	if err == nil {
		err = x.down.Flush()
	}
	if err != nil {
		x.slow(err)
		return
	}
	down := x.down.Tunnel()
	_ = x.down.SetReadDeadline(time.Time{})
	_ = x.down.SetWriteDeadline(time.Time{})
	_ = up.SetDeadline(time.Time{})

	pipe := tcp.Pipe{Down: down, Up: up, Idle: x.limitIdle()}
	if limit := x.watch.maxStream; limit > 0 {
		pipe.Deadline = x.rec.Start.Add(limit)
	}
	x.joinJudged(pipe.Interrupt)
	counted := x.down.Count()
	side, err := pipe.Run()
	x.leaveJudged()
	x.rec.BytesIn += pipe.In.Load() - (x.down.Count() - counted) // a stream of HTTP/2 counts by itself
	x.rec.BytesOut += pipe.Out.Load()
	if denied := x.refusal(); denied != nil {
		x.end(reasonDenied)
		return
	}
	x.tunnelEnded(side, err)
}

// tunnelEnded notes why no more bytes are copied.
func (x *exchange) tunnelEnded(side tcp.Side, err error) {
	switch {
	case err == nil:
	case errors.Is(err, tcp.ErrIdle):
		x.rec.Flags = "SI"
	case errors.Is(err, tcp.ErrTooLong):
		x.rec.Flags = "DT"
	case side == tcp.Upstream:
		x.rec.Flags = "UC"
		x.down.Abort()
	default:
		x.rec.Flags = "DC"
		x.down.Abort()
	}
}
