// Package xdsclient keeps a proxy's configuration equal to what its control plane says: delta ADS, v3.
//
// It decides when a state is whole and whether it was taken; it does not know what the resources mean. Handler does: it
// builds, binds, warms and swaps, or says why not. It never gives up: without a control plane the last state that was
// taken stays in force, and the client tries again for ever.
//
// Our own control plane marks each response with its generation and part; the parts are staged (stage.go) and handed over
// as one Update. State (state.go) can be kept on disk. Another's responses (Options.Stock: delta or the state of the world)
// come type by type, and are assembled (assemble.go) to what is whole. Start at Client.Run.
package xdsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// The type URLs that a proxy of this version subscribes to.
const (
	TypeCluster     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoints   = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeListener    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeRoute       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeSecret      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	TypeRevocations = "type.googleapis.com/hauberk.trust.v1.Revocations"
	TypeSettings    = "type.googleapis.com/hauberk.proxy.v1.Settings"
)

// Types are all of them, in the order in which they are asked for.
func Types() []string {
	return []string{TypeCluster, TypeEndpoints, TypeListener, TypeRoute, TypeSecret, TypeRevocations, TypeSettings}
}

// UserAgent is node.user_agent_name of our own proxies.
const UserAgent = "hauberk"

// Keys of node.metadata. The client sets MetadataTypes and MetadataInstance by itself.
const (
	MetadataDataplane = "hauberk.dataplane" // string: the Dataplane resource as JSON
	MetadataTypes     = "hauberk.types"     // list of strings: the type URLs that it will subscribe to
	// MetadataInstance is a random string (Options.Instance): a stream with the same one replaces this client's older stream, and
	// one with another is a second proxy under this one's name.
	MetadataInstance = "hauberk.instance"
)

// Options are what a client needs. All fields without a default must be set.
type Options struct {
	// Node is sent with the first request of each stream: id, user agent, metadata. It is copied.
	Node *core.Node
	// Dial makes a connection to the control plane; it is called for each attempt, so that mutual TLS uses the present
	// SVID, and the connection is closed by the client. It should have a keepalive, so that a dead control plane is found.
	Dial func(ctx context.Context) (*grpc.ClientConn, error)
	// Handler takes the updates.
	Handler Handler
	// Initial is a state from an earlier run; Run hands it to the Handler before it dials. One that the Handler refuses, or
	// that is of another Node, is forgotten. Default none.
	Initial *State
	// Adopted, if set, is called with each state that the Handler took (but not with Initial), to keep it on disk, before
	// the control plane is told. It should not block for long.
	Adopted func(*State)
	// Instance is what MetadataInstance says. Default a new random string; a process that takes over from another one of
	// the same proxy has that one's.
	Instance string
	// Stock is set for a control plane that is not Hauberk's; see there. It excludes Initial and Adopted.
	Stock *Stock
	// Logger is told of connections won and lost, and of NACKs. Default slog.Default.
	Logger *slog.Logger
}

// Handler puts a state in force.
type Handler interface {
	// Apply returns nil once u is in force. With an error, whose text reaches the control plane, nothing may have
	// changed. It is never called twice at once. ctx ends with Run, not with the stream. The Update and all that it
	// points to are shared: do not change them.
	Apply(ctx context.Context, u *Update) error
}

// Update is a whole state and how it differs from the one before.
type Update struct {
	// Generation is the control plane's; zero under one that has none.
	Generation uint64
	// Resources is the complete new state: type URL -> name. All types are there, some empty.
	Resources map[string]map[string]*anypb.Any
	// Changed are the names that are new or different, Removed those that are gone, sorted, by type URL. A generation
	// that changes nothing for this proxy has both empty.
	Changed map[string][]string
	Removed map[string][]string
}

// Status is what the client knows of itself.
type Status struct {
	// Connected is true from the first response on a stream until it ends; Since is when that changed last.
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`
	// Generation is the newest that the Handler took, from disk or from the control plane. ACKed is the newest that was
	// acknowledged to the control plane since Run began; zero is none.
	Generation uint64 `json:"generation"`
	ACKed      uint64 `json:"acked"`
	// Updates counts the updates that the Handler took, Initial included.
	Updates uint64 `json:"updates"`
	// LastError is why the last stream ended or could not begin; empty while connected.
	LastError string `json:"lastError,omitempty"`
	// LastNACK is what was refused last and why; empty once a later update was taken. NACKs counts all of them.
	LastNACK string `json:"lastNACK,omitempty"`
	NACKs    uint64 `json:"nacks"`
	// Waiting is what a Stock control plane has not sent yet and is waited for, in words.
	Waiting []string `json:"waiting,omitempty"`
	// Attempts counts connection attempts.
	Attempts uint64 `json:"attempts"`
}

// Client follows one control plane. Make it with New, Run it once.
type Client struct {
	opts  Options
	log   *slog.Logger
	node  *core.Node
	types []string
	pause pause

	work     sync.Mutex // guards assembly; held while the Handler is at work
	assembly *assembly  // nil but for a Stock control plane
	awake    chan struct{}

	mu     sync.Mutex // guards below
	state  *State
	status Status
}

// New makes a client. It does nothing before Run.
func New(o Options) (*Client, error) {
	switch {
	case o.Node.GetId() == "":
		return nil, errors.New("xds client: Node has no id")
	case o.Dial == nil:
		return nil, errors.New("xds client: Dial is not set")
	case o.Handler == nil:
		return nil, errors.New("xds client: Handler is not set")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Client{opts: o, log: o.Logger, types: Types(), state: newState(), status: Status{Since: time.Now()}}
	c.state.Node = o.Node.GetId()
	c.node = proto.Clone(o.Node).(*core.Node)
	if o.Stock != nil {
		c.assembly, c.awake = newAssembly(o.Stock), make(chan struct{}, 1)
		return c, o.Stock.check()
	}
	if c.node.Metadata == nil {
		c.node.Metadata = &structpb.Struct{}
	}
	if c.node.Metadata.Fields == nil {
		c.node.Metadata.Fields = map[string]*structpb.Value{}
	}
	list := &structpb.ListValue{}
	for _, t := range c.types {
		list.Values = append(list.Values, structpb.NewStringValue(t))
	}
	c.node.Metadata.Fields[MetadataTypes] = structpb.NewListValue(list)
	if c.opts.Instance == "" {
		c.opts.Instance = rand.Text()
	}
	c.node.Metadata.Fields[MetadataInstance] = structpb.NewStringValue(c.opts.Instance)
	return c, nil
}

// Run puts Initial in force and then follows the control plane until ctx ends. Its error is never the control plane's.
func (c *Client) Run(ctx context.Context) error {
	if s := c.opts.Initial; s != nil {
		c.restore(ctx, s)
	}
	if c.opts.Stock != nil {
		var timing sync.WaitGroup
		defer timing.Wait()
		timing.Go(func() { c.keepTime(ctx) })
	}
	wait := newBackoff()
	for c.pause.wait(ctx) {
		began := time.Now()
		heard, err := c.pausable(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errPaused) {
			c.quiet()
			continue
		}
		c.lost(err)
		// A control plane that answers and hangs up at once is not to be asked ten times a second.
		if heard && time.Since(began) > backoffMax {
			wait.reset()
		}
		if !wait.sleep(ctx) {
			break
		}
	}
	c.quiet()
	return nil
}

// restore hands a kept state to the Handler. Another proxy's, from a directory that changed hands, would put that one's
// listeners, permission and trust in force.
func (c *Client) restore(ctx context.Context, s *State) {
	if s.Node != "" && s.Node != c.node.GetId() {
		c.log.Warn("kept configuration is another proxy's and was dropped", "node", s.Node, "this", c.node.GetId())
		return
	}
	u := &Update{Generation: s.Generation, Resources: s.Resources, Changed: map[string][]string{}, Removed: map[string][]string{}}
	for typeURL, byName := range s.Resources {
		if len(byName) > 0 {
			u.Changed[typeURL] = sortedKeys(byName)
		}
	}
	if err := c.try(ctx, u); err != nil {
		c.log.Warn("kept configuration is not usable and was dropped", "generation", s.Generation, "error", err)
		return
	}
	own := *s
	own.Node = c.node.GetId()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = &own
	c.status.Generation = s.Generation
	c.status.Updates++
}

// State is what is in force. It is immutable.
func (c *Client) State() *State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Snapshot is State as bytes, for Restore. Nil before the first state was taken.
func (c *Client) Snapshot() []byte {
	c.mu.Lock()
	s, none := c.state, c.status.Updates == 0
	c.mu.Unlock()
	if none {
		return nil
	}
	return s.Marshal()
}

// Status may be asked at any time.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// apply puts the next state in force, or returns why not.
func (c *Client) apply(ctx context.Context, next *State, u *Update) error {
	if err := c.try(ctx, u); err != nil {
		return err
	}
	c.mu.Lock()
	c.state = next
	c.status.Generation = next.Generation
	c.status.Updates++
	c.status.LastNACK = ""
	c.mu.Unlock()
	if c.opts.Adopted != nil {
		c.opts.Adopted(next)
	}
	return nil
}

// try calls the Handler. A panic over one generation must not end a proxy that serves well on another.
func (c *Client) try(ctx context.Context, u *Update) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("configuration made the proxy panic", "generation", u.Generation, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("the proxy panicked on it: %v", r)
		}
	}()
	return c.opts.Handler.Apply(ctx, u)
}

// nacked notes a refusal.
func (c *Client) nacked(what string, err error) {
	c.mu.Lock()
	c.status.NACKs++
	c.status.LastNACK = what + ": " + err.Error()
	c.mu.Unlock()
	c.log.Warn("configuration refused", "what", what, "reason", err)
}

// acked notes a generation that the control plane was told of.
func (c *Client) acked(generation uint64) {
	c.mu.Lock()
	c.status.ACKed = max(c.status.ACKed, generation)
	c.mu.Unlock()
}

// heard notes the first response of a stream.
func (c *Client) heard(controlPlane string) {
	c.mu.Lock()
	c.setConnected(true)
	c.status.LastError = ""
	c.mu.Unlock()
	c.log.Info("control plane connected", "controlPlane", controlPlane)
}

// lost notes that a stream ended or could not begin, and logs it only if that is news.
func (c *Client) lost(err error) {
	reason := err.Error()
	c.mu.Lock()
	news := c.status.LastError != reason
	c.status.LastError = reason
	c.setConnected(false)
	c.mu.Unlock()
	if news {
		c.log.Warn("control plane not reachable; the last configuration stays in force", "reason", reason)
	}
}

// setConnected changes the status. c.mu is held.
func (c *Client) setConnected(now bool) {
	if c.status.Connected != now {
		c.status.Connected, c.status.Since = now, time.Now()
	}
}
