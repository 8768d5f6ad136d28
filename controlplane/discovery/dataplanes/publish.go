package dataplanes

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// read parses, validates and compares with who the proxy is. The result carries only what a proxy may say.
func (m *Manager) read(r Registration) (*api.Resource, error) {
	all, err := m.registry.Decode("the proxy's Dataplane", r.Resource)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || all[0].Kind != kindDataplane {
		return nil, errors.New("the proxy must send one resource, its Dataplane")
	}
	res := all[0]
	claims := []struct{ field, says, proven string }{
		{"metadata.name", res.Metadata.Name, r.Dataplane},
		{"metadata.labels[" + api.LabelMesh + "]", res.Mesh(), r.Mesh},
		{"metadata.labels[" + api.LabelService + "]", resource.ServiceOf(res.Metadata), r.Service},
		{"metadata.labels[" + api.LabelZone + "]", resource.ZoneOf(res.Metadata), r.Zone},
	}
	// A proxy whose certificate has no workload part may not claim one; the name that stands in for it is no claim.
	if workload := resource.WorkloadOf(res.Metadata); r.Workload != "" || workload != res.Metadata.Name {
		claims = append(claims, struct{ field, says, proven string }{"metadata.labels[" + api.LabelWorkload + "]", workload, r.Workload})
	}
	for _, c := range claims {
		if c.says != c.proven {
			return nil, fmt.Errorf("%s of the Dataplane is %q, but the proxy's identity was issued for %q: change the one, or get a token for the other",
				c.field, c.says, c.proven)
		}
	}
	if res.Metadata.Namespace != "" {
		return nil, errors.New("metadata.namespace of the Dataplane is for Kubernetes: remove it")
	}
	return plain(res, api.OriginDataplane), nil
}

// plain is the resource without what the store keeps, with the mesh named only where it is not the default one, and with
// this origin.
func plain(res *api.Resource, origin string) *api.Resource {
	labels := map[string]string{}
	for k, v := range res.Metadata.Labels {
		if k == api.LabelOrigin || k == api.LabelMesh && v == api.DefaultMesh {
			continue
		}
		labels[k] = v
	}
	if origin != "" {
		labels[api.LabelOrigin] = origin
	}
	return &api.Resource{
		APIVersion: res.APIVersion, Kind: res.Kind, Spec: res.Spec,
		Metadata: api.Meta{Name: res.Metadata.Name, Namespace: res.Metadata.Namespace, Labels: labels},
	}
}

// publish writes the Dataplane, with the readiness that came before it, unless that is what the store has. The caller holds
// writing, which keeps other proxies away but not users.
func (m *Manager) publish(ctx context.Context, i id, res *api.Resource) error {
	for {
		ops, err := m.changes(ctx, i, res)
		if err != nil || len(ops) == 0 {
			return err
		}
		revision, err := m.store.Txn(ctx, ops...)
		if err == nil {
			m.written = revision
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("dataplane %q could not be registered: %w", i.name, err)
		}
	}
}

func (m *Manager) changes(ctx context.Context, i id, res *api.Resource) (ops []store.Op, err error) {
	record, err := m.record(ctx, i.key(kindDataplane))
	if err != nil {
		return nil, err
	}
	var old *api.Resource
	if record != nil {
		if old, err = store.DecodeRecord(m.registry, *record); err != nil {
			return nil, err
		}
	}
	same := old != nil && m.equal(old, res)
	if old != nil && !registered(old) && !same {
		return nil, fmt.Errorf("a user has applied a Dataplane %q that is not the same as the proxy's: delete it, or give the proxy the same file", i.name)
	}
	if !same {
		if err := m.check(ctx, i, res); err != nil {
			return nil, err
		}
		op, err := m.resources.Replace(record, res)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	insight := m.early(i, res)
	if insight == nil {
		return ops, nil
	}
	record, err = m.record(ctx, i.key(kindInsight))
	if err != nil {
		return nil, err
	}
	op, err := m.resources.Replace(record, insight)
	if err == nil && (record == nil || !bytes.Equal(op.Value, record.Value)) {
		ops = append(ops, op)
	}
	return ops, err
}

// record is nil where there is none.
func (m *Manager) record(ctx context.Context, key api.Key) (*store.Record, error) {
	r, err := m.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return &r, err
}

// equal compares all but the origin and what the store keeps.
func (m *Manager) equal(a, b *api.Resource) bool {
	x, errX := m.registry.Encode(plain(a, ""))
	y, errY := m.registry.Encode(plain(b, ""))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// check compares with the other dataplanes of the service, those included that were registered a moment ago.
func (m *Manager) check(ctx context.Context, i id, res *api.Resource) error {
	w, err := m.world.WaitFor(ctx, m.written)
	if err != nil {
		return err
	}
	mesh := w.Meshes[i.mesh]
	if mesh == nil {
		return fmt.Errorf("there is no mesh %q", i.mesh)
	}
	spec, ok := res.Spec.(*resource.Dataplane)
	if !ok {
		return fmt.Errorf("the spec of %s is a %T", res.Key(), res.Spec)
	}
	return world.CheckRegistration(mesh, i.name, spec, res.Metadata.Labels)
}
