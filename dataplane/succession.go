package dataplane

// What a handover to another process of the same proxy asks of this one; see package handover.

// Unready are the reasons why the proxy is not ready, none if it is.
func (p *Proxy) Unready() []string { return p.unready() }

// Instance is by which name of a process the control plane knows this one.
func (p *Proxy) Instance() string { return p.xds.Instance() }

// Pause ends the configuration stream, so that a successor can open its own under the same name. What is in force stays, and
// so does the registration, for its lease.
func (p *Proxy) Pause() { p.xds.Pause() }

// Resume opens the stream again: there was no successor.
func (p *Proxy) Resume() { p.xds.Resume() }

// HandOver makes Run drain and return as Drain does, without a word to the control plane: another process goes on under this
// one's name, and a withdrawal would take the endpoint from it.
func (p *Proxy) HandOver() {
	p.succeeded.Store(true)
	p.Drain()
}
