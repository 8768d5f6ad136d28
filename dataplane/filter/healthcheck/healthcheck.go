// Package healthcheck answers the question whether the application behind an inbound answers: Envoy's health_check filter,
// as far as it answers by itself (pass_through_mode false). It asks nothing of the application: the proxy knows the state of
// its clusters already. Start with Factory.
package healthcheck

//lint:file-ignore SA1019 other control planes still send the deprecated matchers, and they mean what they meant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/filter/typedconfig"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// TypeURL of the message that configures the filter.
const TypeURL = "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck"

// Factory makes the filter from the wire.
func Factory() filter.Factory { return filter.Factory{TypeURL: TypeURL, HTTP: parse} }

// check answers requests that have all headers: 200 if all clusters are ready, else 503. Its 503 is marked unprocessed, as
// everything is that the application has not seen.
type check struct {
	headers  []condition
	clusters []string
	ready    func(cluster string) bool
	up, down *filter.Verdict
}

// condition is a header that must be there, and have this value where exact is set.
type condition struct {
	name, value string
	exact       bool
}

// Request answers health checks and lets all other requests pass.
func (f *check) Request(_ *filter.Conn, r *message.Request) *filter.Verdict {
	for i := range f.headers {
		if !f.headers[i].holds(r) {
			return nil
		}
	}
	for _, cluster := range f.clusters {
		if !f.ready(cluster) {
			return f.down
		}
	}
	return f.up
}

func (c *condition) holds(r *message.Request) bool {
	switch {
	case c.name == ":path":
		return r.Query == "" && r.Path == c.value
	case c.name == ":method":
		return r.Method == c.value
	case c.exact:
		return r.Header.Has(c.name) && r.Header.Get(c.name) == c.value
	}
	return r.Header.Has(c.name)
}

func parse(config []byte, env filter.Env) (filter.HTTP, error) {
	m := &healthcheckv3.HealthCheck{}
	if err := proto.Unmarshal(config, m); err != nil {
		return nil, err
	}
	if err := typedconfig.Only(m, "", "pass_through_mode", "cluster_min_healthy_percentages", "headers"); err != nil {
		return nil, err
	}
	if m.GetPassThroughMode() == nil || m.GetPassThroughMode().GetValue() {
		return nil, errors.New("pass_through_mode: must be false: this filter answers by itself")
	}
	f := &check{
		ready: env.ClusterReady,
		up:    &filter.Verdict{Answer: true, Status: 200, Details: "health_check_ok"},
		down: &filter.Verdict{
			Answer: true, Status: 503, Flags: "LH", Details: "health_check_failed", Reason: "app_unreachable", Unprocessed: true,
		},
	}
	for name, percent := range m.GetClusterMinHealthyPercentages() {
		// A cluster is ready or not: the application behind an inbound is one endpoint.
		if percent.GetValue() != 100 {
			return nil, fmt.Errorf("cluster_min_healthy_percentages[%q]: %v is not honoured, only 100", name, percent.GetValue())
		}
		f.clusters = append(f.clusters, name)
	}
	slices.Sort(f.clusters)
	if len(m.GetHeaders()) == 0 {
		return nil, errors.New("headers: must not be empty, or every request would be taken for a health check")
	}
	for i, h := range m.GetHeaders() {
		c, err := parseCondition(h, fmt.Sprintf("headers[%d]", i))
		if err != nil {
			return nil, err
		}
		f.headers = append(f.headers, c)
	}
	return f, nil
}

func parseCondition(m *routev3.HeaderMatcher, path string) (condition, error) {
	if err := typedconfig.Only(m, path, "name", "present_match", "exact_match", "string_match"); err != nil {
		return condition{}, err
	}
	c := condition{name: strings.ToLower(m.GetName())}
	pseudo := strings.HasPrefix(c.name, ":")
	switch h := m.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_PresentMatch:
		if pseudo || !h.PresentMatch {
			return condition{}, fmt.Errorf("%s.present_match: must be true, and not of a pseudo-header", path)
		}
	case *routev3.HeaderMatcher_ExactMatch:
		c.exact, c.value = true, h.ExactMatch
	case *routev3.HeaderMatcher_StringMatch:
		if err := typedconfig.Only(h.StringMatch, path+".string_match", "exact"); err != nil {
			return condition{}, err
		}
		c.exact, c.value = true, h.StringMatch.GetExact()
	default:
		return condition{}, fmt.Errorf("%s: says only a name; for presence there is present_match", path)
	}
	if c.name == "" || pseudo && c.name != ":path" && c.name != ":method" {
		return condition{}, fmt.Errorf("%s.name: %q is not honoured", path, m.GetName())
	}
	return c, nil
}
