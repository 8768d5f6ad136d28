package server

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// fleet is who is connected and which generation each runs.
//
// A proxy that nothing is owed to runs the newest generation by definition, so that an update costs only as much as the
// proxies that it may matter to: see runs.
type fleet struct {
	now func() time.Time

	mu       sync.Mutex    // guards below, and all fields of proxies that say so
	world    *world.World  // the newest that all proxies were marked for
	advanced chan struct{} // closed and replaced when world changes
	meshes   map[string]*meshFleet
}

type meshFleet struct {
	proxies map[string]*proxy // by dataplane: the newest stream, open or closed
	// entering are the streams between enter and connect, by dataplane: the newest of each.
	entering map[string]*hello
	// affected is the newest generation that may matter to a dataplane, connected or not.
	affected map[string]store.Revision
	waiters  map[*waiter]bool
}

// proxy is one stream, as others see it. Its conversation belongs to the stream's goroutine alone.
type proxy struct {
	hello hello
	wake  chan struct{} // has one value when there may be something to do
	over  chan struct{} // closed when a newer stream of the same dataplane took its place

	// Guarded by fleet.mu.
	connected bool
	since     time.Time
	// marked: a world that was not resolved yet may matter to it.
	marked bool
	// working is the generation that is being resolved or awaits its answer; zero is none.
	working store.Revision
	// resolved is the generation of the last world that it was resolved from.
	resolved store.Revision
	// settled is the newest generation that it was seen to run.
	settled store.Revision
	sent    store.Revision
	nack    string
	nacked  store.Revision
	pushes  uint64
}

func newFleet(now func() time.Time) *fleet {
	return &fleet{now: now, advanced: make(chan struct{}), meshes: map[string]*meshFleet{}}
}

// mesh finds or makes a mesh. f.mu is held.
func (f *fleet) mesh(name string) *meshFleet {
	m := f.meshes[name]
	if m == nil {
		m = &meshFleet{proxies: map[string]*proxy{}, entering: map[string]*hello{}, affected: map[string]store.Revision{}, waiters: map[*waiter]bool{}}
		f.meshes[name] = m
	}
	return m
}

// begin takes the first world. Proxies that came before it are marked since they connected.
func (f *fleet) begin(w *world.World) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.become(w)
	for _, m := range f.meshes {
		for _, p := range m.proxies {
			p.nudge()
		}
	}
}

// advance goes on to the next world and marks the affected proxies, by mesh and dataplane.
func (f *fleet) advance(u *world.Update, affected map[string]map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var before store.Revision
	if u.Old != nil {
		before = u.Old.Generation
	}
	for mesh, names := range affected {
		m := f.mesh(mesh)
		for name := range names {
			p := m.proxies[name]
			if !inWorld(u.New, mesh, name) {
				delete(m.affected, name)
				switch {
				case p == nil:
				case p.connected:
					p.nudge() // see absent
				default:
					delete(m.proxies, name)
				}
				continue
			}
			m.affected[name] = u.New.Generation
			if p == nil || !p.connected || p.resolved >= u.New.Generation {
				continue
			}
			if !f.owed(p) {
				p.settled = max(p.settled, before)
			}
			p.marked = true
			p.nudge()
		}
	}
	for mesh := range u.Changed {
		if u.New.Meshes[mesh] == nil {
			f.forget(mesh)
		}
	}
	f.become(u.New)
	for mesh := range u.Changed { // also one that is gone, for whose proxies nobody is to wait any more
		f.lookAgain(mesh)
	}
}

// become makes w the present world, unless a newer one is. f.mu is held.
func (f *fleet) become(w *world.World) {
	if f.world != nil && f.world.Generation > w.Generation {
		return
	}
	f.world = w
	close(f.advanced)
	f.advanced = make(chan struct{})
}

// forget drops what is known of a mesh that is gone, but for open streams. f.mu is held.
func (f *fleet) forget(mesh string) {
	m := f.meshes[mesh]
	if m == nil {
		return
	}
	clear(m.affected)
	for name, p := range m.proxies {
		if p.connected {
			p.nudge() // see absent
			continue
		}
		delete(m.proxies, name)
	}
}

// lookAgain re-examines whom the waiters of a mesh still wait for: a dataplane may have left it. f.mu is held.
func (f *fleet) lookAgain(mesh string) {
	m := f.meshes[mesh]
	if m == nil || len(m.waiters) == 0 {
		return
	}
	for _, p := range m.proxies {
		f.tell(p)
	}
}

// enter keeps a dataplane's name for a stream that is about to be registered, until leave is called, or says who has it. Two
// processes under one name and token would otherwise take it from each other for ever. A process gets past itself: its older
// stream is a connection that died without a word. One that tells no instance gets past everybody, and everybody past it.
func (f *fleet) enter(h *hello) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mesh(h.Mesh)
	if p := m.proxies[h.Dataplane]; p != nil && p.connected && p.hello.another(h) {
		return nil, taken(h, fmt.Sprintf("is connected from %s since %s", p.hello.From, p.since.UTC().Format(time.RFC3339)))
	}
	if first := m.entering[h.Dataplane]; first != nil && first.another(h) {
		return nil, taken(h, "is connecting from "+first.From)
	}
	m.entering[h.Dataplane] = h
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if m.entering[h.Dataplane] == h {
			delete(m.entering, h.Dataplane)
		}
	}, nil
}

func taken(h *hello, by string) error {
	return status.Errorf(codes.AlreadyExists, "another proxy %s as dataplane %q of mesh %q: stop it, or give this one a name and a token of its own",
		by, h.Dataplane, h.Mesh)
}

// another tells whether two streams are known to be of different processes.
func (h *hello) another(o *hello) bool {
	return h.Instance != "" && o.Instance != "" && h.Instance != o.Instance
}

// connect adds a stream. An older one of the same dataplane is told to end: its proxy has gone without saying so.
func (f *fleet) connect(h hello) *proxy {
	p := &proxy{hello: h, wake: make(chan struct{}, 1), over: make(chan struct{}), connected: true, marked: true}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.since = f.now()
	m := f.mesh(h.Mesh)
	if old := m.proxies[h.Dataplane]; old != nil && old.connected {
		old.connected = false
		close(old.over)
	}
	m.proxies[h.Dataplane] = p
	f.tell(p)
	p.nudge()
	return p
}

// disconnect notes the end of a stream.
func (f *fleet) disconnect(p *proxy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.connected {
		return // replaced
	}
	p.settled = f.runs(p) // it goes on with that, and learns of nothing newer
	p.connected, p.since = false, f.now()
	f.tell(p)
	if f.world != nil && !f.known(p.hello.Mesh, p.hello.Dataplane) {
		if m := f.mesh(p.hello.Mesh); m.proxies[p.hello.Dataplane] == p {
			delete(m.proxies, p.hello.Dataplane)
		}
	}
}

// take hands out the world to resolve for a marked proxy; nil if there is nothing to do. The proxy then is at work until
// settle or refuse. news is whether the world may differ for the proxy from the one that it was resolved from last.
func (f *fleet) take(p *proxy) (w *world.World, news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.marked || f.world == nil || !f.known(p.hello.Mesh, p.hello.Dataplane) {
		return nil, false
	}
	news = f.mesh(p.hello.Mesh).affected[p.hello.Dataplane] > p.resolved
	p.marked = false
	p.working, p.resolved = f.world.Generation, f.world.Generation
	return f.world, news
}

// mark asks for another round, although the world did not change: the proxy subscribed to more, or refused the last one.
func (f *fleet) mark(p *proxy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.owed(p) {
		p.settled = f.runs(p)
	}
	p.marked = true
	p.nudge()
}

// busy notes that the proxy was sent what it asked for, and has not answered.
func (f *fleet) busy(p *proxy, generation store.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.working != 0 {
		return
	}
	if !f.owed(p) {
		p.settled = f.runs(p)
	}
	p.working = generation
}

// pushed notes that a generation is on its way.
func (f *fleet) pushed(p *proxy, generation store.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.sent = generation
	p.pushes++
}

// settle notes that the proxy runs the generation.
func (f *fleet) settle(p *proxy, generation store.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.working, p.settled = 0, max(p.settled, generation)
	p.nack, p.nacked = "", 0
	f.tell(p)
}

// refuse notes that the proxy stays at what it ran before.
func (f *fleet) refuse(p *proxy, generation store.Revision, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.working = 0
	p.nack, p.nacked = reason, generation
	f.tell(p)
}

// owed tells whether the proxy runs, or may run, something else than the newest world says. f.mu is held.
func (f *fleet) owed(p *proxy) bool { return p.marked || p.working != 0 || p.nack != "" }

// runs is the newest generation that the proxy is known to run. f.mu is held.
func (f *fleet) runs(p *proxy) store.Revision {
	if !p.connected || f.owed(p) || f.world == nil {
		return p.settled
	}
	return f.world.Generation
}

// refuses tells whether the proxy's last word on the generation is a NACK. A refusal stands for all later generations that
// did not matter to it. f.mu is held.
func (f *fleet) refuses(p *proxy, generation store.Revision) bool {
	return p.nack != "" && (p.nacked >= generation || (!p.marked && p.working == 0))
}

// owes tells whether a wait for the generation has to wait for this proxy. f.mu is held.
func (f *fleet) owes(p *proxy, generation store.Revision) bool {
	return p.connected && f.runs(p) < generation && !f.refuses(p, generation) && f.known(p.hello.Mesh, p.hello.Dataplane)
}

// absent tells whether the stream's dataplane is not in the present world.
func (f *fleet) absent(p *proxy) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.world != nil && !f.known(p.hello.Mesh, p.hello.Dataplane)
}

// known tells whether the dataplane is in the present world. f.mu is held.
func (f *fleet) known(mesh, dataplane string) bool {
	return f.world != nil && inWorld(f.world, mesh, dataplane)
}

func inWorld(w *world.World, mesh, dataplane string) bool {
	m := w.Meshes[mesh]
	return m != nil && m.Dataplanes[dataplane] != nil
}

// nudge wakes the stream's goroutine.
func (p *proxy) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
