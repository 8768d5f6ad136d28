package dataplanes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// Bounds of what a proxy can make the control plane keep and write by what it tells of its inbounds.
const (
	tellInterval = 100 * time.Millisecond // between two writes of one dataplane
	maxReason    = 256                    // bytes
	maxEarly     = 64                     // inbounds of a dataplane that is not registered yet
)

// SetReadiness publishes which inbounds of a dataplane answer; of those that it does not have nothing is kept. It writes only
// what changes, and waits before it does if the last write was a moment ago: the caller's proxy has to slow down, and nobody
// else. What a dataplane tells before it is registered is published with its registration.
func (m *Manager) SetReadiness(ctx context.Context, mesh, dataplane string, inbounds []resource.InboundInsight) error {
	i := id{mesh, dataplane}
	for {
		pause, err := m.tell(ctx, i, inbounds)
		if err != nil {
			return fmt.Errorf("readiness of dataplane %q of mesh %q: %w", dataplane, mesh, err)
		}
		if pause <= 0 {
			return nil
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// tell writes, or returns how long to wait before another attempt.
func (m *Manager) tell(ctx context.Context, i id, inbounds []resource.InboundInsight) (pause time.Duration, err error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if pause = m.tellPause(i); pause > 0 {
		return pause, nil
	}
	res, err := m.resources.Get(ctx, i.key(kindDataplane))
	if errors.Is(err, store.ErrNotFound) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.stopped {
			m.entry(i).readiness = tidy(inbounds[:min(len(inbounds), maxEarly)], nil)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	revision, results, err := m.resources.ApplyResults(ctx, []*api.Resource{insightResource(i, tidy(inbounds, res))})
	if err != nil {
		return 0, err
	}
	m.written = max(m.written, revision)
	if results[0].Outcome != store.Unchanged {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.entry(i).nextTell = time.Now().Add(tellInterval)
	}
	return 0, nil
}

func (m *Manager) tellPause(i id) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[i]; e != nil {
		return time.Until(e.nextTell)
	}
	return 0
}

// sleep waits; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// early is the insight that came before the registration of res, nil if none did.
func (m *Manager) early(i id, res *api.Resource) *api.Resource {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table[i]; e != nil && e.readiness != nil {
		return insightResource(i, tidy(e.readiness, res))
	}
	return nil
}

// tidy sorts what is told, with reasons of a length to be shown. Of the Dataplane's inbounds (nil: not known yet) each is
// there once at most, with what was said of it last.
func tidy(told []resource.InboundInsight, of *api.Resource) []resource.InboundInsight {
	byName := map[string]resource.InboundInsight{}
	for _, in := range told {
		if len(in.Name) > maxReason {
			continue
		}
		if len(in.Reason) > maxReason {
			in.Reason = strings.ToValidUTF8(in.Reason[:maxReason], "")
		}
		byName[in.Name] = in
	}
	if of != nil {
		has := inboundNames(of)
		maps.DeleteFunc(byName, func(name string, _ resource.InboundInsight) bool { return !has[name] })
	}
	// Not nil: a proxy without inbounds has told so.
	return slices.SortedFunc(maps.Values(byName), func(a, b resource.InboundInsight) int { return cmp.Compare(a.Name, b.Name) })
}

func inboundNames(res *api.Resource) map[string]bool {
	names := map[string]bool{}
	if spec, ok := res.Spec.(*resource.Dataplane); ok {
		for _, in := range spec.WithDefaults().Inbounds {
			names[in.Name] = true
		}
	}
	return names
}

func insightResource(i id, inbounds []resource.InboundInsight) *api.Resource {
	labels := map[string]string{api.LabelOrigin: api.OriginDataplane}
	if i.mesh != api.DefaultMesh {
		labels[api.LabelMesh] = i.mesh
	}
	return &api.Resource{
		APIVersion: api.APIVersion, Kind: kindInsight,
		Metadata: api.Meta{Name: i.name, Labels: labels},
		Spec:     &resource.DataplaneInsight{Inbounds: inbounds},
	}
}
