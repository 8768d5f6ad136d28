package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// patience is how long proxies have to send what they recorded.
const patience = 2 * time.Second

// why says what decides a call, and what became of real ones. A call that a request id names is asked about as it was made.
func (s *server) why(q *http.Request) (int, any, error) {
	_, m, err := s.mesh(q)
	if err != nil {
		return 0, nil, err
	}
	v := q.URL.Query()
	question := why.Query{Source: v.Get("source"), Destination: v.Get("destination"), Method: v.Get("method"), Path: v.Get("path")}
	if question.Source == "" || question.Destination == "" {
		return 0, nil, refuse(http.StatusBadRequest, "source and destination are needed: each names a service or a dataplane")
	}
	if text := v.Get("port"); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return 0, nil, refuse(http.StatusBadRequest, "port=%q is not a port: write a number from 1 to 65535", text)
		}
		question.Port = uint32(port)
	}
	proxies := s.proxies(m.Name)
	answerer := why.Answerer{
		Mesh:      m,
		Resolve:   func(name string) (*ir.Proxy, error) { return s.Policies.Proxy(m, name) },
		Judge:     s.Policies.Judge,
		Connected: func(name string) bool { return proxies[name].Connected },
		Rejected:  func(name string) string { return proxies[name].NACK },
	}
	answer, err := answerer.Ask(question)
	if err != nil {
		return 0, nil, err
	}
	observed := s.observed(q.Context(), m, answer, report.Filter{
		RequestID: v.Get("requestId"), Path: question.Path, Method: question.Method, Limit: 20,
	})
	if v.Get("requestId") != "" && len(observed) > 0 && question.Path == "" && observed[0].Path != "" {
		question.Method, question.Path = observed[0].Method, observed[0].Path
		if answer, err = answerer.Ask(question); err != nil {
			return 0, nil, err
		}
	}
	answer.Observed = observed
	return http.StatusOK, answer, nil
}

// observed joins what the proxies of both sides recorded about each other.
func (s *server) observed(ctx context.Context, m *world.Mesh, a *why.Answer, q report.Filter) []report.Decision {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	bySource, byDestination := q, q
	bySource.Peer, byDestination.Peer = peer(a.Destination), peer(a.Source)
	all := []report.Decision{}
	for _, d := range s.Reports.Decisions(ctx, m.Name, a.Source.Dataplanes, bySource) {
		if d.Side == report.SideSource {
			all = append(all, d)
		}
	}
	for _, d := range s.Reports.Decisions(ctx, m.Name, a.Destination.Dataplanes, byDestination) {
		if d.Side == report.SideDestination {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(x, y report.Decision) int { return y.Time.Compare(x.Time) })
	return all[:min(len(all), q.Limit)]
}

// peer is how proxies know a party. One that does not exist any more, or never did, goes by the name that was asked for:
// an empty peer would choose the calls of everybody.
func peer(p why.Party) string {
	if p.Service == "" {
		return p.Name
	}
	return p.Service
}

// proxies are the connections of a mesh by dataplane.
func (s *server) proxies(mesh string) map[string]ProxyStatus {
	known := map[string]ProxyStatus{}
	for _, p := range s.Proxies.Status(mesh) {
		known[p.Dataplane] = p
	}
	return known
}
