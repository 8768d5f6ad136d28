package standalone

// What a handover to another process of the same proxy asks of this one; see package handover.

// Unready are the reasons why the proxy is not ready, none if it is.
func (p *Proxy) Unready() []string { return p.unready() }

// Instance is empty: no control plane of ours counts the processes of a name.
func (p *Proxy) Instance() string { return "" }

// Pause and Resume have nothing to do: any other control plane takes two streams of one node for two proxies, and serves both.
func (p *Proxy) Pause() {}

// Resume is Pause's end.
func (p *Proxy) Resume() {}

// HandOver makes Run drain and return: another process goes on.
func (p *Proxy) HandOver() { p.Drain() }
