// Package report tells the control plane what this proxy sees: edges each second, refusals as they occur, decisions when
// it is asked, whether the applications answer, where the proxy keeps its keys, and that it leaves.
//
// It holds one stream (wire/report/v1) for ever and takes what package telemetry has gathered. It is lossy on purpose: a
// slow or absent control plane costs reports, counted, and never a request. Nothing here runs on a request.
//
// Start at Client.Run.
package report

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

const (
	edgesEvery   = time.Second
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
	// leaveWithin bounds how long a shutdown waits for its word to arrive.
	leaveWithin = time.Second
	// steady is how long a stream must have lasted for the next attempt to come at once.
	steady = 10 * time.Second
	// queueSize is how many messages may wait for a slow stream.
	queueSize = 64
)

// Options are what a Client is made from.
type Options struct {
	// Dial makes a connection to the control plane, with mutual TLS. It is called for each attempt and the client closes
	// what it returns.
	Dial func(ctx context.Context) (*grpc.ClientConn, error)
	// Edges, Ring and Refusals are where reports come from. Each may be nil.
	Edges    *telemetry.Edges
	Ring     *telemetry.Ring
	Refusals *telemetry.Refusals
	Logger   *slog.Logger
}

// Client is the proxy's side of the report stream.
type Client struct {
	opts      Options
	dropped   atomic.Uint64 // messages since the last one that got out
	total     atomic.Uint64 // all messages ever dropped
	connected atomic.Bool

	mu      sync.Mutex // guards below
	inbound map[string]*reportv1.Readiness_Inbound
	keys    *reportv1.KeyProvider // nil: nobody said
	changed chan struct{}         // capacity 1: readiness and key provider are to be told again

	leave chan chan error // Leaving asks; answered once
}

// New checks the options. Run does the work.
func New(o Options) (*Client, error) {
	if o.Dial == nil {
		return nil, errors.New("report client: Dial is not set")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		opts: o, inbound: map[string]*reportv1.Readiness_Inbound{},
		changed: make(chan struct{}, 1), leave: make(chan chan error),
	}, nil
}

// Connected tells whether a stream is open.
func (c *Client) Connected() bool { return c.connected.Load() }

// Dropped counts all messages that were given up because the stream was slow or absent.
func (c *Client) Dropped() uint64 { return c.total.Load() }

// SetReadiness notes whether the application behind an inbound answers, and why not; a change is told at once. It does
// not block.
func (c *Client) SetReadiness(inbound string, ready bool, reason string) {
	if ready {
		reason = ""
	}
	c.mu.Lock()
	old := c.inbound[inbound]
	same := old != nil && old.Ready == ready && old.Reason == reason
	if !same {
		c.inbound[inbound] = &reportv1.Readiness_Inbound{Name: inbound, Ready: ready, Reason: reason}
	}
	c.mu.Unlock()
	if !same {
		c.tellReadiness()
	}
}

// ForgetReadiness drops an inbound that is no longer configured.
func (c *Client) ForgetReadiness(inbound string) {
	c.mu.Lock()
	_, was := c.inbound[inbound]
	delete(c.inbound, inbound)
	c.mu.Unlock()
	if was {
		c.tellReadiness()
	}
}

// SetKeyProvider notes where the proxy keeps its keys; a change is told at once. It does not block.
func (c *Client) SetKeyProvider(name, backend, reason string) {
	c.mu.Lock()
	c.keys = &reportv1.KeyProvider{Name: valid(name), Backend: valid(backend), Reason: valid(reason)}
	c.mu.Unlock()
	c.tellReadiness()
}

// keyProvider is nil where nobody said.
func (c *Client) keyProvider() *reportv1.ProxyMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		return nil
	}
	return &reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_KeyProvider{KeyProvider: c.keys}} // replaced, never written to
}

func (c *Client) tellReadiness() {
	select {
	case c.changed <- struct{}{}:
	default: // already to be told; it will be with this
	}
}

func (c *Client) readiness() *reportv1.ProxyMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &reportv1.Readiness{}
	for _, i := range c.inbound {
		r.Inbounds = append(r.Inbounds, i) // replaced on change, never written to
	}
	slices.SortFunc(r.Inbounds, func(a, b *reportv1.Readiness_Inbound) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return &reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Readiness{Readiness: r}}
}

// Leaving tells the control plane that this proxy shuts down, so that it is withdrawn now and not when its lease ends. It
// returns when the control plane has taken it, after two seconds, or with ctx. Call it while Run still runs; the stream
// is over afterwards.
func (c *Client) Leaving(ctx context.Context) error {
	if !c.Connected() {
		return errors.New("control plane was not told that this proxy leaves: no report stream is open")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*leaveWithin)
	defer cancel()
	told := make(chan error, 1)
	select {
	case c.leave <- told:
	case <-ctx.Done():
		return errors.New("control plane was not told that this proxy leaves: no report stream is open")
	}
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return errors.New("control plane was told that this proxy leaves, and did not confirm it")
	}
}

// Run holds a stream until ctx ends, over and over. It returns ctx's error only, or nil after Leaving.
func (c *Client) Run(ctx context.Context) error {
	wait := backoffFirst
	for told := ""; ; {
		began := time.Now()
		left, err := c.stream(ctx)
		if left {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := err.Error(); text != told {
			c.opts.Logger.Warn("report stream ended; traffic goes on, reports wait", "error", err)
			told = text // the same reason again and again is told once
		}
		if time.Since(began) > steady {
			wait, told = backoffFirst, ""
		}
		pause := wait/2 + rand.N(wait/2+1)
		wait = min(wait*2, backoffMost)
		if !c.sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// sleep waits without a stream. Refusals that occur meanwhile stay in their own queue and are dropped there when it is full.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
