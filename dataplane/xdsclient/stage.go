package xdsclient

import (
	"fmt"
	"strconv"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// maxParts bounds the stage; our control plane sends parts of about 1 MiB.
const maxParts = 10_000

// mark is what our control plane's nonce says: "<generation>.<part>/<parts>", part from 1.
type mark struct {
	generation  uint64
	part, parts int
}

// parseMark reads a nonce; false means that it is another control plane's.
func parseMark(nonce string) (mark, bool) {
	generation, rest, ok := strings.Cut(nonce, ".")
	if !ok {
		return mark{}, false
	}
	part, parts, ok := strings.Cut(rest, "/")
	if !ok {
		return mark{}, false
	}
	g, ok1 := parseDecimal(generation)
	i, ok2 := parseDecimal(part)
	n, ok3 := parseDecimal(parts)
	if !ok1 || !ok2 || !ok3 || i < 1 || i > n || n > maxParts {
		return mark{}, false
	}
	return mark{generation: g, part: int(i), parts: int(n)}, true
}

// parseDecimal takes digits only: no sign, no leading zero.
func parseDecimal(s string) (uint64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// stage keeps the parts of one generation until all are there. The zero value is empty.
type stage struct {
	mark  mark // of the newest part
	parts []*discovery.DeltaDiscoveryResponse
}

// add takes a part and returns all of them once the last has come. A first part throws away an incomplete generation: the
// control plane has begun anew.
func (s *stage) add(m mark, r *discovery.DeltaDiscoveryResponse) ([]*discovery.DeltaDiscoveryResponse, error) {
	if m.part == 1 {
		*s = stage{}
	} else if len(s.parts) == 0 || m.generation != s.mark.generation || m.parts != s.mark.parts || m.part != s.mark.part+1 {
		*s = stage{}
		return nil, fmt.Errorf("part %d of %d of generation %d does not follow what came before it", m.part, m.parts, m.generation)
	}
	s.mark = m
	s.parts = append(s.parts, r)
	if m.part < m.parts {
		return nil, nil
	}
	whole := s.parts
	*s = stage{}
	return whole, nil
}

// checkResponse refuses what cannot be right whatever the resources mean.
func checkResponse(r *discovery.DeltaDiscoveryResponse) error {
	for i, res := range r.GetResources() {
		switch {
		case res.GetName() == "":
			return fmt.Errorf("%s: resources[%d] has no name", r.GetTypeUrl(), i)
		case res.GetResource() == nil:
			return fmt.Errorf("%s: resource %q is empty", r.GetTypeUrl(), res.GetName())
		case res.GetResource().GetTypeUrl() != r.GetTypeUrl():
			return fmt.Errorf("%s: resource %q has type %s", r.GetTypeUrl(), res.GetName(), res.GetResource().GetTypeUrl())
		}
	}
	return nil
}
