package dataplane

import "github.com/hauberk-mesh/hauberk/accel/keyprovider"

// useKeys has the keys that this proxy makes kept where the mesh wants them. The key of the present SVID is replaced at once.
func (p *Proxy) useKeys(keys keyprovider.Provider) {
	if !p.keys.Use(keys) {
		return
	}
	s := p.keys.Status()
	p.log.Info("key provider", "provider", s.Provider, "backend", s.Backend, "reason", s.Detail)
	p.identity.UseKeys(keys)
	p.tellKeys()
}

// tellKeys tells the control plane which provider it is, for hauberk check.
func (p *Proxy) tellKeys() {
	s := p.keys.Status()
	p.report.SetKeyProvider(s.Provider, s.Backend, s.Detail)
}
