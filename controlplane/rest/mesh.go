package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// longestWait ends a long poll; the client asks again.
const longestWait = 5 * time.Minute

// mesh finds the mesh of the query in the present world.
func (s *server) mesh(q *http.Request) (*world.World, *world.Mesh, error) {
	name := queryMesh(q)
	w := s.Worlds.Current()
	if m := w.Meshes[name]; m != nil {
		return w, m, nil
	}
	return nil, nil, refuse(http.StatusNotFound, "there is no mesh %s: hauberk get meshes lists them", name)
}

// propagation waits until a generation has reached everybody whom it concerns, or until the timeout, and says how far it
// has come by then.
func (s *server) propagation(q *http.Request) (int, any, error) {
	generation, err := strconv.ParseUint(q.URL.Query().Get("generation"), 10, 64)
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "generation=%q is not a generation: take the one that apply returned", q.URL.Query().Get("generation"))
	}
	timeout, err := durationOf(q, "timeout", 30*time.Second, longestWait)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(q.Context(), timeout)
	defer cancel()
	p, err := s.Proxies.Wait(ctx, queryMesh(q), generation)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, p, nil
}

// status joins what the store knows of each dataplane with what the xDS server knows of its proxy.
func (s *server) status(q *http.Request) (int, any, error) {
	w, m, err := s.mesh(q)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, Status{Mesh: m.Name, Generation: uint64(w.Generation), Dataplanes: s.dataplanes(m)}, nil
}

// The states of ProxyStatus.
const (
	stateCurrent      = "current"
	statePending      = "pending"
	stateRejected     = "rejected"
	stateDisconnected = "disconnected"
)

func (s *server) dataplanes(m *world.Mesh) []ProxyStatus {
	known := s.proxies(m.Name)
	names := sortedKeys(m.Dataplanes)
	for name := range known {
		if m.Dataplanes[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rows := make([]ProxyStatus, 0, len(names))
	for _, name := range names {
		row := known[name]
		row.Dataplane = name
		if d := m.Dataplanes[name]; d != nil {
			row.Service = d.Service
			for _, inbound := range sortedKeys(d.Unready) {
				row.Unready = append(row.Unready, inbound+": "+d.Unready[inbound])
			}
		}
		row.State = state(row)
		rows = append(rows, row)
	}
	return rows
}

func state(p ProxyStatus) string {
	switch {
	case !p.Connected:
		return stateDisconnected
	case p.NACK != "":
		return stateRejected
	case p.Generation < p.SentGeneration || p.Generation == 0:
		return statePending
	default:
		return stateCurrent
	}
}

func (s *server) version(*http.Request) (int, any, error) {
	return http.StatusOK, Version{Version: s.Version, GoVersion: goVersion()}, nil
}

// durationOf reads a duration of the query; none is otherwise, more than most is most.
func durationOf(q *http.Request, name string, otherwise, most time.Duration) (time.Duration, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, refuse(http.StatusBadRequest, "%s=%q is not a duration: write it with a unit, as 500ms, 10s or 5m", name, text)
	}
	return min(d, most), nil
}
