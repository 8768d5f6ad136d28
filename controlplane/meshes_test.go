package controlplane

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
)

// TestSweep: what somebody wrote for a mesh while it was being removed goes too, so that a later mesh of that name does not
// inherit an authority's key; what belongs to a mesh that is there stays.
func TestSweep(t *testing.T) {
	s := memory.New(memory.Options{})
	t.Cleanup(func() { _ = s.Close() })
	registry := api.NewRegistry(kinds()...)
	m := &meshes{store: s, resources: store.NewResources(s, registry), registry: registry}
	docs, err := registry.Decode("", []byte("apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: there}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.resources.Apply(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	for _, mesh := range []string{"there", "gone"} {
		if _, err := s.Txn(t.Context(), store.Op{Key: api.Key{Kind: "Secret", Mesh: mesh, Name: "root"}, Value: []byte("key")}); err != nil {
			t.Fatal(err)
		}
		if err := m.sweep(t.Context(), mesh); err != nil {
			t.Fatal(err)
		}
	}
	for mesh, want := range map[string]int{"there": 1, "gone": 0} {
		left, _, err := s.List(t.Context(), store.Selector{Kind: "Secret", Mesh: mesh})
		if err != nil || len(left) != want {
			t.Errorf("mesh %s: %d secrets left (%v), want %d", mesh, len(left), err, want)
		}
	}
}

// TestAddressesThatDidNotChange are not written again: a control plane must start on a full disk.
func TestAddressesThatDidNotChange(t *testing.T) {
	dir := t.TempDir()
	a := Addresses{API: "127.0.0.1:1", XDS: "127.0.0.1:2"}
	if err := a.write(dir); err != nil {
		t.Fatal(err)
	}
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, AddressesFile))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := stat()
	if err := a.write(dir); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, stat()) {
		t.Error("the file was replaced although nothing changed")
	}
	a.API = "127.0.0.1:3"
	if err := a.write(dir); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, stat()) {
		t.Error("a new address was not written")
	}
}
