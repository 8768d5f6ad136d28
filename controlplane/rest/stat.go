package rest

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/report"
)

// windowOf is how far back a question looks; zero is to the start. What is not kept is refused: an answer about less time
// than was asked for would be taken for one about all of it.
func windowOf(q *http.Request) (time.Duration, error) {
	window, err := durationOf(q, "window", 0, math.MaxInt64)
	if err == nil && window > report.MaxWindow {
		err = refuse(http.StatusBadRequest, "window=%s is too long: proxies' reports of the last %s are kept apart; leave the window out for all since the control plane started",
			window, report.MaxWindow)
	}
	return window, err
}

// edges are who talks to whom. Where window is given, only of that time.
func (s *server) edges(q *http.Request) (int, any, error) {
	_, m, err := s.mesh(q)
	if err != nil {
		return 0, nil, err
	}
	window, err := windowOf(q)
	if err != nil {
		return 0, nil, err
	}
	all := s.Reports.Edges(m.Name, window)
	if all == nil {
		all = []report.Edge{}
	}
	slices.SortFunc(all, func(a, b report.Edge) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.SourceID, b.SourceID))
	})
	return http.StatusOK, Edges{Mesh: m.Name, Edges: all}, nil
}

// stat is one row a service. Percentiles of several edges cannot be added up: the row has the worst of its edges, which is
// what somebody who looks for trouble wants to see.
func (s *server) stat(q *http.Request) (int, any, error) {
	_, m, err := s.mesh(q)
	if err != nil {
		return 0, nil, err
	}
	window, err := windowOf(q)
	if err != nil {
		return 0, nil, err
	}
	rows := map[string]*ServiceStat{}
	row := func(service string) *ServiceStat {
		if rows[service] == nil {
			rows[service] = &ServiceStat{Service: service}
		}
		return rows[service]
	}
	for name := range m.Services {
		row(name)
	}
	for _, d := range m.Dataplanes {
		if d.Service == "" {
			continue
		}
		r := row(d.Service)
		r.Dataplanes++
		if len(d.Unready) == 0 {
			r.Ready++
		}
	}
	secured := map[string]uint64{}
	for _, e := range s.Reports.Edges(m.Name, window) {
		r := row(e.Destination)
		r.Requests += e.Requests
		r.Errors += e.Errors
		r.Denied += e.Denied
		r.RPS += e.RPS
		r.P50, r.P90, r.P99 = max(r.P50, e.P50), max(r.P90, e.P90), max(r.P99, e.P99)
		if e.TLSVersion != "" {
			secured[e.Destination] += e.Requests
		}
	}
	answer := Stat{Mesh: m.Name, Services: []ServiceStat{}}
	for _, name := range sortedKeys(rows) {
		r := rows[name]
		r.SuccessRate, r.SecuredShare = 1, 1
		if judged := r.Requests - min(r.Denied, r.Requests); judged > 0 {
			r.SuccessRate = 1 - float64(min(r.Errors, judged))/float64(judged)
		}
		if r.Requests > 0 {
			r.SecuredShare = float64(secured[name]) / float64(r.Requests)
		}
		answer.Services = append(answer.Services, *r)
	}
	return http.StatusOK, answer, nil
}
