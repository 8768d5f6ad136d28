package dataplanes

import (
	"context"
	"fmt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Registration is a proxy that has connected and proven who it is. All but Resource comes from its certificate.
type Registration struct {
	Mesh, Dataplane, Service, Workload string
	Zone                               string // "" is the default one
	Resource                           []byte // its Dataplane, as JSON
}

// Session is one connection of a proxy. End it with Close or Leave; a second call does nothing.
type Session struct {
	m          *Manager
	id         id
	who        Registration
	superseded chan struct{}
	ended      bool // guarded by m.mu
}

// Connect publishes the dataplane and gives it a session. A registration that changes nothing writes nothing.
//
// The error says what contradicts what: the resource itself, the identity, another dataplane of the service, or a Dataplane
// of the same name that a user has applied and that is not the same. If the same proxy has a session already (its connection
// is half open, it just does not know), the new one wins, and the old one is superseded.
func (m *Manager) Connect(ctx context.Context, r Registration) (*Session, error) {
	if r.Zone == "" {
		r.Zone = api.DefaultZone
	}
	res, err := m.read(r)
	if err != nil {
		return nil, err
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	s := &Session{m: m, id: id{r.Mesh, r.Dataplane}, who: r, superseded: make(chan struct{})}
	if err := m.admit(s); err != nil {
		return nil, err
	}
	if err := m.publish(ctx, s.id, res); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entry(s.id)
	e.stopLease()
	e.readiness, e.left = nil, false
	if e.session != nil {
		close(e.session.superseded)
	}
	e.session = s
	return s, nil
}

// admit refuses a second proxy under the name of a live one. The caller holds writing, so that the answer stays true.
func (m *Manager) admit(s *Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.table[s.id]
	if e == nil || e.session == nil {
		return nil
	}
	if live := e.session.who; live.Service != s.who.Service || live.Workload != s.who.Workload || live.Zone != s.who.Zone {
		return fmt.Errorf("a proxy of service %q, workload %q, is connected as dataplane %q: stop it, or give this one of service %q, workload %q, another name",
			live.Service, live.Workload, s.id.name, s.who.Service, s.who.Workload)
	}
	return nil
}

// Superseded is closed when a newer session of the same proxy has taken over; the connection is of no use any more.
func (s *Session) Superseded() <-chan struct{} { return s.superseded }

// Left tells whether the dataplane has withdrawn itself, on whichever stream, and this is still its live session: the proxy
// drains, and only a new session publishes it again.
func (s *Session) Left() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	e := s.m.table[s.id]
	return e != nil && e.session == s && e.left
}

// Close says that the connection is lost: the dataplane stays published for the lease, and for good if the same proxy comes
// back. A session that was superseded changes nothing.
func (s *Session) Close() {
	if s.end() {
		s.m.mu.Lock()
		defer s.m.mu.Unlock()
		if e := s.m.table[s.id]; e != nil && e.left && e.session == nil {
			delete(s.m.table, s.id)
			return
		}
		s.m.startLease(s.id)
	}
}

// Leave says that the proxy shuts down: the dataplane is withdrawn at once.
func (s *Session) Leave(ctx context.Context) error {
	if !s.end() {
		return nil
	}
	return s.m.Leave(ctx, s.id.mesh, s.id.name)
}

// end tells whether the session was the live one, which then there is none any more.
func (s *Session) end() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	e := s.m.table[s.id]
	if e == nil || e.session != s {
		return false
	}
	e.session = nil
	return true
}

// Written is the newest revision that was written of any dataplane.
func (m *Manager) Written() store.Revision {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.written
}

// Leave withdraws a dataplane at once, as its proxy has asked on another stream than that of its session. The session may
// stay open while the proxy drains; when it is closed, its lease has nothing left to withdraw.
func (m *Manager) Leave(ctx context.Context, mesh, dataplane string) error {
	i := id{mesh, dataplane}
	m.writing.Lock()
	defer m.writing.Unlock()
	if err := m.withdraw(ctx, i); err != nil {
		m.mu.Lock()
		m.startLease(i) // at the latest then
		m.mu.Unlock()
		return fmt.Errorf("dataplane %q of mesh %q could not be withdrawn: %w", dataplane, mesh, err)
	}
	m.log.Info("dataplane withdrawn, it has left", "mesh", mesh, "dataplane", dataplane)
	return nil
}
