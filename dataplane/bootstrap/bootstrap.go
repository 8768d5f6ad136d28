// Package bootstrap reads Envoy's v3 bootstrap file, YAML or JSON, into what a stand-alone proxy starts with: its static
// resources as a configuration for the engine, its admin port, and where the rest of the configuration comes from.
//
// It reads strictly. A field that nobody knows is an error with its line, and so is one that this proxy does not honour; what
// a resource says is for package config to judge. Start at Read.
package bootstrap

import (
	"fmt"
	"os"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/overload"
)

// Bootstrap is a file that was understood.
type Bootstrap struct {
	// Node is what a control plane is told; nil without one.
	Node *corev3.Node
	// Static is what the file itself configures.
	Static config.Resources
	// Admin is host:port of the admin port; empty: none.
	Admin string
	// Overload is what to watch; nil: what the process's own limits say.
	Overload *overload.Spec
	// Dynamic is where the rest comes from; nil: nowhere.
	Dynamic *Dynamic
	// Notes are the fields outside of resources that have no effect.
	Notes []config.Note

	file     string
	document *document
	places   map[string]string // a resource as errors name it -> its path in the file
}

// Read reads a file. Its errors name the file, the line and the path.
func Read(file string) (*Bootstrap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Parse is Read of a text that is there already.
func Parse(file string, text []byte) (*Bootstrap, error) {
	d, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	m := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(d.json, m); err != nil {
		line, where, what, ok := d.at(err)
		if !ok {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return nil, fmt.Errorf("%s:%d: %s%s", file, line, under(where), what)
	}
	b := &Bootstrap{file: file, document: d, places: map[string]string{}}
	if err := b.take(m); err != nil {
		return nil, b.Locate(err)
	}
	return b, nil
}

// Introduce is who asks a control plane: the file's node, and which program it is.
func (b *Bootstrap) Introduce(version string) *corev3.Node {
	n := proto.Clone(b.Node).(*corev3.Node)
	n.UserAgentName = "hauberk-proxy" // not the mesh's: that one wants whole generations
	n.UserAgentVersionType = &corev3.Node_UserAgentVersion{UserAgentVersion: version}
	return n
}

// File is the name of the file.
func (b *Bootstrap) File() string { return b.file }

func under(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// take picks the message apart.
func (b *Bootstrap) take(m *bootstrapv3.Bootstrap) (err error) {
	if b.Notes, err = config.CheckBootstrap(m); err != nil {
		return err
	}
	if err := runtimeLayers(m.GetLayeredRuntime()); err != nil {
		return err
	}
	if b.Admin, err = config.AdminAddress(m.GetAdmin()); err != nil {
		return err
	}
	if err := b.static(m.GetStaticResources()); err != nil {
		return err
	}
	if m.GetOverloadManager() != nil {
		spec, err := config.Overload(m.GetOverloadManager(), os.DirFS("/"))
		if err != nil {
			return err
		}
		b.Overload = &spec
	}
	b.Node = m.GetNode()
	b.Dynamic, err = dynamic(m)
	return err
}

// static makes a configuration of the resources in the file.
func (b *Bootstrap) static(m *bootstrapv3.Bootstrap_StaticResources) error {
	b.Static = config.Resources{config.TypeListener: {}, config.TypeCluster: {}, config.TypeSecret: {}}
	for i, l := range m.GetListeners() {
		if l.GetName() == "" {
			l.Name = fmt.Sprintf("listener_%d", i) // Envoy makes a random one
		}
		if err := b.add(config.TypeListener, "listener", l.GetName(), l, fmt.Sprintf("static_resources.listeners[%d]", i)); err != nil {
			return err
		}
	}
	for i, c := range m.GetClusters() {
		if err := b.add(config.TypeCluster, "cluster", c.GetName(), c, fmt.Sprintf("static_resources.clusters[%d]", i)); err != nil {
			return err
		}
	}
	for i, s := range m.GetSecrets() {
		if err := b.add(config.TypeSecret, "secret", s.GetName(), s, fmt.Sprintf("static_resources.secrets[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bootstrap) add(typeURL, kind, name string, m proto.Message, path string) error {
	if name == "" {
		return fmt.Errorf("%s.name: is not set", path)
	}
	if b.Static[typeURL][name] != nil {
		return fmt.Errorf("%s.name: another %s is called %q too", path, kind, name)
	}
	a, err := anypb.New(m)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b.Static[typeURL][name] = a
	b.places[fmt.Sprintf("%s %q", kind, name)] = path
	return nil
}

// runtimeLayers: there is no runtime, so that only empty layers mean here what they mean elsewhere.
func runtimeLayers(m *bootstrapv3.LayeredRuntime) error {
	for i, l := range m.GetLayers() {
		for key := range l.GetStaticLayer().GetFields() {
			return fmt.Errorf("layered_runtime.layers[%d].static_layer: the runtime value %q is not honoured: say it in the resource that it is about", i, key)
		}
	}
	return nil
}

// Locate puts file and line in front of an error that names a path, as those of package config do: 'listener "in":
// filter_chains[0].filters: ...'.
func (b *Bootstrap) Locate(err error) error {
	text := err.Error()
	path, what := "", text
	for resource, place := range b.places {
		if rest, ok := strings.CutPrefix(text, resource+": "); ok {
			path, what = place, rest
		}
	}
	first, reason, ok := strings.Cut(what, ": ")
	switch {
	case ok && !strings.ContainsAny(first, " "):
		path, what = join(path, first), reason
	case path == "":
		return fmt.Errorf("%s: %w", b.file, err)
	}
	return fmt.Errorf("%s:%d: %s: %s", b.file, b.document.line(path), path, what)
}
