package xdsclient

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// A stock control plane sends a type at a time: clusters without their endpoints, listeners before their routes, or a route to
// a cluster that comes only with the next response. None of that is wrong, and none of it can be put in force. The assembly
// keeps what was sent apart from what is in force, and makes of the two the newest configuration that is whole:
//
//   - what was sent is used once all that it names is there;
//   - until then the version of it that is in force stays, with what that one names (make before break);
//   - what is named and not there is waited for, and when the patience ends something empty takes its place.
type assembly struct {
	o    *Stock
	sent resources // without static ones
	// version is the last accepted one of each type, versions those of messages, where the protocol has them.
	version  map[string]string
	versions map[*anypb.Any]string
	heard    map[string]bool // types of which there was a response

	force   resources
	needs   map[*anypb.Any][]Need
	missing map[item]wait
	wanted  map[string][]string // names of each type, sorted
}

// wait is for a resource that is missing.
type wait struct {
	until time.Time // zero: for ever
	over  bool
}

// resources are messages by type and name. Maps of types are never changed once they are in use.
type resources map[string]map[string]*anypb.Any

// item is the name of a resource; without a name it is all of its type.
type item struct{ typeURL, name string }

func (i item) String() string {
	if i.name == "" {
		return "every " + shortType(i.typeURL)
	}
	return fmt.Sprintf("%s %q", shortType(i.typeURL), i.name)
}

func newAssembly(o *Stock) *assembly {
	return &assembly{
		o: o, sent: resources{}, version: map[string]string{}, versions: map[*anypb.Any]string{}, heard: map[string]bool{},
		force: resources{}, needs: map[*anypb.Any][]Need{}, missing: map[item]wait{}, wanted: map[string][]string{},
	}
}

// named are the types that are asked for by name.
func named() []string { return []string{TypeEndpoints, TypeRoute, TypeSecret} }

func (a *assembly) asked(typeURL string) bool {
	return slices.Contains(named(), typeURL) || slices.Contains(a.o.roots(), typeURL)
}

// latest is what a name stands for now; nil: it was not sent.
func (a *assembly) latest(i item) *anypb.Any {
	if m := a.o.Static[i.typeURL][i.name]; m != nil {
		return m
	}
	return a.sent[i.typeURL][i.name]
}

// now is the newest configuration that is whole, and notes what is wanted and missing.
func (a *assembly) now(at time.Time) resources {
	p := a.pass()
	p.at = at
	for _, t := range a.o.roots() {
		if !a.heard[t] {
			p.missing[item{t, ""}] = defaultPatience
		}
	}
	p.run()
	missing := map[item]wait{}
	for i, patience := range p.missing {
		w, known := a.missing[i]
		if !known && patience > 0 {
			w.until = at.Add(patience)
		}
		w.over = w.late(at)
		missing[i] = w
	}
	a.missing, a.wanted = missing, map[string][]string{}
	for t, names := range p.wanted {
		a.wanted[t] = sortedKeys(names)
	}
	return p.out
}

func (w wait) late(at time.Time) bool { return !w.until.IsZero() && !at.Before(w.until) }

// whole is what was sent as if nothing were worth waiting for: whatever is wrong with it will not mend by itself.
func (a *assembly) whole() map[string]map[string]*anypb.Any {
	p := a.pass()
	p.final = true
	p.run()
	return p.out
}

// pass is one look at everything.
type pass struct {
	*assembly
	at      time.Time
	final   bool // nothing is waited for and nothing is held on to
	out     resources
	decided map[item]bool
	missing map[item]time.Duration
	wanted  map[string]map[string]bool
}

func (a *assembly) pass() *pass {
	p := &pass{assembly: a, out: resources{}, decided: map[item]bool{}, missing: map[item]time.Duration{}, wanted: map[string]map[string]bool{}}
	for _, t := range Types() {
		p.out[t] = map[string]*anypb.Any{}
	}
	for _, t := range named() {
		p.wanted[t] = map[string]bool{}
	}
	return p
}

func (p *pass) run() {
	for _, t := range named() {
		maps.Copy(p.out[t], p.o.Static[t])
	}
	for _, t := range []string{TypeCluster, TypeListener} {
		for _, from := range []map[string]*anypb.Any{p.o.Static[t], p.sent[t]} {
			for _, name := range sortedKeys(from) {
				p.use(item{t, name}, 0)
			}
		}
	}
}

// use takes a resource, and all that it names, into the configuration; false: it has to wait.
func (p *pass) use(i item, patience time.Duration) bool {
	ok, seen := p.decided[i]
	if !seen {
		p.decided[i] = false // whatever names itself waits for ever
		ok = p.decide(i, patience)
		p.decided[i] = ok
	}
	return ok
}

func (p *pass) decide(i item, patience time.Duration) bool {
	if p.wanted[i.typeURL] != nil && p.o.Static[i.typeURL][i.name] == nil {
		p.wanted[i.typeURL][i.name] = true
	}
	latest := p.latest(i)
	if latest != nil && p.with(i, latest) {
		return true
	}
	if latest == nil && p.given(i, patience) {
		return true
	}
	before := p.force[i.typeURL][i.name]
	return !p.final && before != nil && before != latest && p.with(i, before)
}

// with takes m for i, if all that it names can be had. All of it is looked at, so that all of it is asked for.
func (p *pass) with(i item, m *anypb.Any) bool {
	all := true
	for _, n := range p.needsOf(m) {
		if !p.use(item{n.Type, n.Name}, n.Patience) {
			all = false
		}
	}
	if all {
		p.out[i.typeURL][i.name] = m
	}
	return all
}

// given takes what stands in for a resource that was not sent, if it is time.
func (p *pass) given(i item, patience time.Duration) bool {
	if patience == 0 {
		patience = defaultPatience
	}
	p.missing[i] = patience
	if !p.final && !p.assembly.missing[i].late(p.at) {
		return false
	}
	m := p.force[i.typeURL][i.name]
	if standIn := p.o.StandIn(i.typeURL, i.name); standIn == nil {
		return false
	} else if m == nil || !proto.Equal(m, standIn) {
		m = standIn
	}
	p.out[i.typeURL][i.name] = m
	return true
}

func (a *assembly) needsOf(m *anypb.Any) []Need {
	found, known := a.needs[m]
	if !known {
		// One that cannot be read needs nothing: Check and the Handler will say what is wrong with it.
		found, _ = a.o.Needs(m)
		a.needs[m] = found
	}
	return found
}

// inForce tells whether a configuration is the one that is in force.
func (a *assembly) inForce(out resources) bool {
	return len(a.force) > 0 && maps.EqualFunc(a.force, out, func(x, y map[string]*anypb.Any) bool { return maps.Equal(x, y) })
}

// update is a configuration as the Handler takes it.
func (a *assembly) update(out resources) *Update {
	u := &Update{Resources: out, Changed: map[string][]string{}, Removed: map[string][]string{}}
	for t, byName := range out {
		for name, m := range byName {
			if a.force[t][name] != m {
				u.Changed[t] = append(u.Changed[t], name)
			}
		}
		for name := range a.force[t] {
			if byName[name] == nil {
				u.Removed[t] = append(u.Removed[t], name)
			}
		}
		slices.Sort(u.Changed[t])
		slices.Sort(u.Removed[t])
	}
	return u
}

// merged is what was sent, with a response to it; of its resources those that are taken. The state of the world is all
// listeners or clusters that there are, but of other types only those that changed.
func (a *assembly) merged(before resources, n *news, taken func(i int) bool) resources {
	old := before[n.typeURL]
	next := map[string]*anypb.Any{}
	if !n.full || slices.Contains(named(), n.typeURL) {
		next = maps.Clone(old)
		if next == nil {
			next = map[string]*anypb.Any{}
		}
	}
	for _, name := range n.removed {
		delete(next, name)
	}
	for i, r := range n.put {
		m := old[r.name]
		if taken(i) && !same(m, r.message) {
			m = r.message
		}
		if m != nil {
			next[r.name] = m
		}
		if same(m, r.message) {
			a.versions[m] = r.version
		}
	}
	out := maps.Clone(before)
	out[n.typeURL] = next
	return out
}

// same keeps the message that is there already, so that nothing is built anew for it.
func same(a, b *anypb.Any) bool {
	return a != nil && a.TypeUrl == b.TypeUrl && bytes.Equal(a.Value, b.Value)
}

// prune forgets what nobody names any more, and what it needed.
func (a *assembly) prune() {
	for _, t := range named() {
		maps.DeleteFunc(a.sent[t], func(name string, _ *anypb.Any) bool {
			_, wanted := slices.BinarySearch(a.wanted[t], name)
			return !wanted
		})
	}
	kept := map[*anypb.Any]bool{}
	for _, from := range []resources{a.o.Static, a.sent, a.force} {
		for _, byName := range from {
			for _, m := range byName {
				kept[m] = true
			}
		}
	}
	maps.DeleteFunc(a.needs, func(m *anypb.Any, _ []Need) bool { return !kept[m] })
	maps.DeleteFunc(a.versions, func(m *anypb.Any, _ string) bool { return !kept[m] })
}

// waiting are all that is waited for, in words.
func (a *assembly) waiting() (out []string) {
	for i, w := range a.missing {
		if !w.over {
			out = append(out, i.String())
		}
	}
	slices.Sort(out)
	return out
}

// nextDeadline is when the patience with something ends next.
func (a *assembly) nextDeadline() (next time.Time, some bool) {
	for _, w := range a.missing {
		if !w.over && !w.until.IsZero() && (!some || w.until.Before(next)) {
			next, some = w.until, true
		}
	}
	return next, some
}

// shortType is the last word of a type's name.
func shortType(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }
