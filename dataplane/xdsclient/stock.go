package xdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
)

// Stock says how to follow a control plane that is not Hauberk's: listeners and clusters as it sends them, and by name what
// those name. It sends types one by one, so that what has come so far may not be whole; assemble.go makes the best of it.
type Stock struct {
	// Delta is the incremental protocol; else the state of the world is sent each time.
	Delta bool
	// NodeOnce leaves the Node out of all but a stream's first request.
	NodeOnce bool
	// Metadata goes with the stream: name and value in turn.
	Metadata []string
	// Listeners and Clusters say which of the two are asked for.
	Listeners, Clusters bool
	// Static are resources that are always there and that no other of their name replaces.
	Static map[string]map[string]*anypb.Any

	// Needs finds what a resource names and cannot be put in force without.
	Needs func(*anypb.Any) ([]Need, error)
	// StandIn makes what takes the place of a resource that does not come; nil: nothing can.
	StandIn func(typeURL, name string) *anypb.Any
	// Check tells whether resources could be put in force, and changes nothing. It is not called while the Handler is at work.
	Check func(resources map[string]map[string]*anypb.Any) error
}

// Need is a resource that another one names. Patience is how long it is waited for: zero is 15 s, negative for ever.
type Need struct {
	Type, Name string
	Patience   time.Duration
}

// defaultPatience is initial_fetch_timeout by Envoy's documentation.
const defaultPatience = 15 * time.Second

func (s *Stock) check() error {
	if s.Needs == nil || s.StandIn == nil || s.Check == nil {
		return errors.New("xds client: Stock needs Needs, StandIn and Check")
	}
	return nil
}

// roots are the types that are asked for as a whole, in the order in which they are.
func (s *Stock) roots() []string {
	var out []string
	if s.Clusters {
		out = append(out, TypeCluster)
	}
	if s.Listeners {
		out = append(out, TypeListener)
	}
	return out
}

// Begin puts those static resources in force that need nothing else, before Run. It fails if they can never be.
func (c *Client) Begin(ctx context.Context) error {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.opts.Stock.Check(c.assembly.whole()); err != nil {
		return err
	}
	return c.settle(ctx)
}

// Whole is all of Static, with something empty in place of what a Stock control plane would have to send.
func (c *Client) Whole() map[string]map[string]*anypb.Any {
	c.work.Lock()
	defer c.work.Unlock()
	return c.assembly.whole()
}

// settle puts in force what can be of what was sent. c.work is held.
func (c *Client) settle(ctx context.Context) error {
	a := c.assembly
	out := a.now(time.Now())
	defer c.wake()
	c.setWaiting(a.waiting())
	if a.inForce(out) {
		return nil
	}
	u := a.update(out)
	if err := c.try(ctx, u); err != nil {
		return err
	}
	a.force = out
	c.mu.Lock()
	c.status.Updates++
	c.mu.Unlock()
	return nil
}

// setWaiting says what is not there yet.
func (c *Client) setWaiting(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Waiting = names
}

// wake has keepTime look at the deadlines again.
func (c *Client) wake() {
	select {
	case c.awake <- struct{}{}:
	default:
	}
}

// keepTime settles when somebody's patience ends, whether there is a stream or not.
func (c *Client) keepTime(ctx context.Context) {
	for {
		c.work.Lock()
		next, some := c.assembly.nextDeadline()
		c.work.Unlock()
		timer := time.NewTimer(time.Until(next))
		due := timer.C
		if !some {
			due = nil
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.awake:
		case <-due:
			c.outOfPatience(ctx)
		}
		timer.Stop()
	}
}

func (c *Client) outOfPatience(ctx context.Context) {
	c.work.Lock()
	defer c.work.Unlock()
	before := c.assembly.waiting()
	if err := c.settle(ctx); err != nil {
		c.log.Warn("configuration not in force", "reason", err)
		return
	}
	after := c.assembly.waiting()
	for _, name := range before {
		if !slices.Contains(after, name) {
			c.log.Warn("waited for long enough, going on without it", "resource", name)
		}
	}
}

// followStock holds a stream with a control plane of another kind. ctx is Run's.
func (c *Client) followStock(ctx, streamCtx context.Context, conn *grpc.ClientConn) (heard bool, err error) {
	w, err := c.open(metadata.AppendToOutgoingContext(streamCtx, c.opts.Stock.Metadata...), conn)
	if err != nil {
		return false, streamError(err)
	}
	if err := c.resume(w); err != nil {
		return false, w.broken(err)
	}
	late := newLate()
	defer late.stop()
	for {
		n, from, err := w.recv()
		if err != nil {
			return heard, streamError(err)
		}
		if !heard {
			heard = true
			c.heard(from)
		}
		if err := c.hear(ctx, w, late, n); err != nil {
			return heard, w.broken(err)
		}
	}
}

func (c *Client) open(ctx context.Context, conn *grpc.ClientConn) (wire, error) {
	ads, once := discovery.NewAggregatedDiscoveryServiceClient(conn), c.opts.Stock.NodeOnce
	if c.opts.Stock.Delta {
		stream, err := ads.DeltaAggregatedResources(ctx, grpc.MaxCallRecvMsgSize(maxResponse))
		return &deltaWire{stream: stream, node: c.node, once: once, asked: map[string][]string{}}, err
	}
	stream, err := ads.StreamAggregatedResources(ctx, grpc.MaxCallRecvMsgSize(maxResponse))
	return &sotwWire{stream: stream, node: c.node, once: once, asked: map[string][]string{}, nonces: map[string]string{}}, err
}

// resume asks for everything that is wanted, as of now.
func (c *Client) resume(w wire) error {
	c.work.Lock()
	defer c.work.Unlock()
	for _, t := range c.opts.Stock.roots() {
		if err := w.subscribe(t, nil, c.assembly); err != nil {
			return err
		}
	}
	return c.ask(w)
}

// ask asks for what is wanted by name. c.work is held.
func (c *Client) ask(w wire) error {
	for _, t := range named() {
		if err := w.subscribe(t, c.assembly.wanted[t], c.assembly); err != nil {
			return err
		}
	}
	return nil
}

// hear takes one response and answers it. Its error is the wire's.
func (c *Client) hear(ctx context.Context, w wire, late *late, n *news) error {
	c.work.Lock()
	defer c.work.Unlock()
	refusal := c.takeNews(ctx, n)
	if ctx.Err() != nil {
		return ctx.Err() // an Apply that was cut off by our own end says nothing of the configuration
	}
	answer := func() error { return w.answer(n, c.assembly, refusal) }
	if wait := late.wait(n, refusal); wait > 0 {
		late.after(wait, func() {
			c.work.Lock()
			defer c.work.Unlock()
			if late.newest[n.typeURL] != n {
				return // nobody waits for it any more
			}
			_ = answer() // a broken stream is found by who receives
		})
	} else {
		c.note(n, refusal)
		if err := answer(); err != nil {
			return err
		}
	}
	c.assembly.prune()
	return c.ask(w)
}

// note keeps in the status what became of a response.
func (c *Client) note(n *news, refusal error) {
	if refusal != nil {
		c.nacked(fmt.Sprintf("%s %q", shortType(n.typeURL), n.version), refusal)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.LastNACK = ""
}

// takeNews merges a response into what was sent, as much of it as is good. The error says what is not.
func (c *Client) takeNews(ctx context.Context, n *news) error {
	a := c.assembly
	if n.err != nil {
		return n.err
	}
	if !a.asked(n.typeURL) {
		return fmt.Errorf("type %q was not asked for", n.typeURL)
	}
	before := a.sent
	refusal := c.merge(n)
	a.heard[n.typeURL] = true
	if err := c.settle(ctx); err != nil {
		a.sent = before
		a.now(time.Now()) // what is wanted and missing is what it was
		return err
	}
	if refusal == nil {
		a.version[n.typeURL] = n.version
	}
	return refusal
}

// merge takes the whole of a response or, if that is bad, each resource of it that is good by itself.
func (c *Client) merge(n *news) error {
	a, before := c.assembly, c.assembly.sent
	a.sent = a.merged(before, n, func(int) bool { return true })
	refusal := c.sound(n.put)
	if refusal == nil {
		return nil
	}
	good := make([]bool, len(n.put))
	var bad []error
	for i := range n.put {
		good[i] = true
		a.sent = a.merged(before, n, func(i int) bool { return good[i] })
		if err := c.sound(n.put[i : i+1]); err != nil {
			good[i] = false
			bad = append(bad, err)
		}
	}
	a.sent = a.merged(before, n, func(i int) bool { return good[i] })
	if len(bad) == 0 {
		return refusal
	}
	return errors.Join(bad...)
}

// sound tells whether what was sent can ever be put in force.
func (c *Client) sound(put []sent) error {
	for _, r := range put {
		if c.opts.Stock.Static[r.message.GetTypeUrl()][r.name] != nil {
			return fmt.Errorf("%s: is in the bootstrap file, and nothing can take its place", item{r.message.GetTypeUrl(), r.name})
		}
	}
	return c.opts.Stock.Check(c.assembly.whole())
}
