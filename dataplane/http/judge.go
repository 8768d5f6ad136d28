package http

import (
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
)

// A permission that is taken back ends exchanges that are under way. Those that last longer than a tick join the ones of
// their connection that are judged again at each change of configuration; the others are over by then, and pay nothing.

// openExchanges are those of one connection.
type openExchanges struct {
	mu  sync.Mutex // guards below
	all map[*exchange]func()
}

// watchPermission lets an exchange join once it has lasted for a tick.
func (x *exchange) watchPermission(now time.Time) {
	if !x.joined && now.Sub(x.rec.Start) >= tick {
		x.joinJudged(x.interrupt)
	}
}

// interrupt ends whatever the exchange waits for, once it is refused.
func (x *exchange) interrupt() {
	x.wake()
	_ = x.down.SetWriteDeadline(time.Unix(1, 0))
}

// joinJudged has the exchange judged now and at each change of configuration; ends is called, from another goroutine, once it
// is refused.
func (x *exchange) joinJudged(ends func()) {
	o := &x.Conn.open
	o.mu.Lock()
	if o.all == nil {
		o.all = map[*exchange]func(){}
	}
	o.all[x] = ends
	first := len(o.all) == 1
	o.mu.Unlock()
	x.joined = true
	if first {
		x.Conn.Watch(o.judge)
	}
	x.judgeAgain() // what has changed before it joined
}

func (x *exchange) leaveJudged() {
	if !x.joined {
		return
	}
	x.joined = false
	o := &x.Conn.open
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, x)
}

// judge asks the filters of the present configuration about all.
func (o *openExchanges) judge() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for x, ends := range o.all {
		if x.judgeAgain() {
			ends()
		}
	}
}

// judgeAgain asks the filters of the present configuration, and tells whether the exchange is refused.
func (x *exchange) judgeAgain() bool {
	spec, gone := x.Chain()
	if gone {
		return false // the listener goes; its connections are drained
	}
	v := &filter.Verdict{Refuse: true, Status: 403, Flags: "UAEX", Details: "filter_chain_gone", Reason: reasonPermission.Code}
	if spec != nil {
		v = filter.RunHTTP(spec.Filters, x.Info, &x.asked).Final
	}
	if v == nil || !v.Refuse {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.denied == nil {
		x.denied = v
	}
	return true
}

// refusal is the verdict of a later configuration, or nil.
func (x *exchange) refusal() *filter.Verdict {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.denied
}

// remember keeps the request's head as the filters have seen it: what is sent on may have been rewritten since.
func (x *exchange) remember() {
	fields := append(x.asked.Header.Fields[:0], x.req.Header.Fields...)
	x.asked = *x.req
	x.asked.Header.Fields = fields
}
