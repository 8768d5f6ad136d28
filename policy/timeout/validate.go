package timeout

import (
	"fmt"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

func validate(_ api.Meta, s *Spec) (ps api.Problems) {
	ps = append(ps, target.ValidateTop(s.TargetRef, len(s.Rules) > 0)...)
	switch {
	case len(s.To) > 0 && len(s.Rules) > 0:
		ps.Add("spec.rules", "stands beside to", "make two resources: to is for calls that go out, rules for those that come in")
	case len(s.To) == 0 && len(s.Rules) == 0:
		ps.Add("spec", "has neither to nor rules", "write to for calls that go out, or rules for those that come in")
	}
	destinations := map[string]int{}
	for i, to := range s.To {
		at := fmt.Sprintf("spec.to[%d]", i)
		ps = append(ps, target.ValidateTo(at+".targetRef", to.TargetRef)...)
		ps = append(ps, validateConf(at+".default", to.Default)...)
		if to.TargetRef == nil {
			continue
		}
		key := to.TargetRef.Kind + "/" + to.TargetRef.Name + "/" + to.TargetRef.SectionName
		if first, twice := destinations[key]; twice {
			ps.Add(at+".targetRef", fmt.Sprintf("is the same as that of spec.to[%d]", first), "put both into one entry")
			continue
		}
		destinations[key] = i
	}
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		if i > 0 {
			ps.Add(at, "is about the same calls as spec.rules[0]", "put both into one rule")
		}
		ps = append(ps, validateConf(at+".default", r.Default)...)
	}
	return ps
}

// longest is far above any use, and far below what would overflow on the wire.
const longest = 365 * 24 * time.Hour

func validateConf(at string, c Conf) (ps api.Problems) {
	if c.ConnectionTimeout == nil && c.IdleTimeout == nil && (c.HTTP == nil || *c.HTTP == (HTTP{})) {
		ps.Add(at, "sets nothing", "set connectionTimeout, idleTimeout or one of http")
	}
	check := func(field string, d *api.Duration, least time.Duration) {
		switch {
		case d == nil:
		case d.Duration == 0 && least > 0:
			ps.Add(at+"."+field, "cannot be off", "write 5s, or another time from 1ms on")
		case d.Duration != 0 && d.Duration < time.Millisecond:
			ps.Add(at+"."+field, fmt.Sprintf("%s is below a millisecond", d.Duration), "write 1ms or more, or 0s for off")
		case d.Duration > longest:
			ps.Add(at+"."+field, fmt.Sprintf("%s is longer than a year", d.Duration), "write 8760h or less, or 0s for off")
		}
	}
	// Off would mean for ever, and a peer that swallows SYNs would hold requests for ever.
	check("connectionTimeout", c.ConnectionTimeout, time.Millisecond)
	check("idleTimeout", c.IdleTimeout, 0)
	if h := c.HTTP; h != nil {
		check("http.requestTimeout", h.RequestTimeout, 0)
		check("http.streamIdleTimeout", h.StreamIdleTimeout, 0)
		check("http.maxStreamDuration", h.MaxStreamDuration, 0)
		check("http.maxConnectionDuration", h.MaxConnectionDuration, 0)
		check("http.requestHeadersTimeout", h.RequestHeadersTimeout, 0)
	}
	return ps
}
