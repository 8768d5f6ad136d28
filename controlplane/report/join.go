package report

// hop is what both sides of a call agree on even where they saw different parts of it.
type hop struct{ source, destination, protocol string }

// join makes one edge of what the two sides of each hop told.
//
// A source that could not shake hands knows no peer, and the callee's name for its caller is the workload in the caller's
// SPIFFE ID, which need not be the service. So the two sides are matched by SPIFFE IDs where both are known, else by names.
func join(told []joined) []*joined {
	sources := fold(told)
	byIDs, byHop := map[[3]string]*joined{}, map[hop]*joined{}
	for _, j := range sources {
		if j.sourceID != "" && j.destinationID != "" {
			byIDs[[3]string{j.sourceID, j.destinationID, j.protocol}] = j
		}
		byHop[hop{j.source, j.destination, j.protocol}] = j
	}
	edges := sources
	for i := range told {
		d := &told[i]
		if d.outbound {
			continue
		}
		s := byIDs[[3]string{d.sourceID, d.destinationID, d.protocol}]
		if s == nil && d.tlsVersion != "" {
			s = byHop[hop{d.source, d.destination, d.protocol}]
		}
		if s == nil {
			edges = append(edges, d)
			continue
		}
		s.deniedByDestination += d.denied
	}
	for _, j := range sources {
		j.settleDenied()
	}
	return edges
}

// settleDenied takes the callee's count of refusals where the caller's proxy did not recognise them. A connection that
// was refused is a reset to the caller, an HTTP request a 403, which is no error anyway.
func (j *joined) settleDenied() {
	missed := j.deniedByDestination - min(j.deniedByDestination, j.denied)
	missed = min(missed, j.requests-min(j.denied, j.requests))
	j.denied += missed
	if j.protocol == "tcp" {
		j.errors -= min(missed, j.errors)
	}
}

// fold gathers what sources told, and adds calls that failed before anybody proved who he is to the edge of the same
// names with a proven identity, if there is exactly one: to a reader they are one edge.
func fold(told []joined) []*joined {
	proven := map[hop][]*joined{}
	var sources, unproven []*joined
	for i := range told {
		j := &told[i]
		if !j.outbound {
			continue
		}
		h := hop{j.source, j.destination, j.protocol}
		if j.destinationID == "" {
			unproven = append(unproven, j)
			continue
		}
		proven[h] = append(proven[h], j)
		sources = append(sources, j)
	}
	for _, j := range unproven {
		if p := proven[hop{j.source, j.destination, j.protocol}]; len(p) == 1 {
			p[0].merge(&j.counts)
			p[0].recent += j.recent
			if j.first.Before(p[0].first) {
				p[0].first = j.first
			}
			continue
		}
		sources = append(sources, j)
	}
	return sources
}
