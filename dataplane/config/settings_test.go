package config_test

import (
	stdtls "crypto/tls"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
	proxyv1 "github.com/hauberk-mesh/hauberk/wire/proxy/v1"
)

// TestSettings: the control plane's choice of a key provider arrives, and without one it is what the process was started with.
func TestSettings(t *testing.T) {
	b := batch.New(batch.Options{})
	defer b.Close()
	builder := func(standAlone bool) *config.Builder {
		return config.New(config.Deps{Identity: &tls.Identity{}, Trust: &tls.Trust{}, Filters: filters.Factories(), Resolver: hosts{}, StandAlone: standAlone, Keys: keyring.New(b, memory.New())})
	}
	for wanted, want := range map[ir.KeyProvider]string{"": "batch", ir.KeysBatched: "batch", ir.KeysInMemory: "memory"} {
		p := everything(t)
		p.KeyProvider = wanted
		g, err := builder(false).Build(nil, 1, onTheWire(t, p, nil))
		if err != nil {
			t.Fatal(err)
		}
		if g.Keys.Name() != want {
			t.Errorf("%q: %s", wanted, g.Keys.Name())
		}
	}
	settings := func(name string, m proto.Message) config.Resources {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return config.Resources{config.TypeSettings: {name: a}}
	}
	newer := &proxyv1.Settings{}
	newer.ProtoReflect().SetUnknown([]byte{0xfa, 0xff, 0x01, 0x00}) // field 4095
	for _, c := range []struct {
		builder *config.Builder
		in      config.Resources
		want    string
	}{
		{builder(false), settings("settings", &proxyv1.Settings{KeyProvider: "guardian"}), `settings "settings": key_provider: this proxy has no key provider "guardian", only batch and memory`},
		{builder(false), settings("others", &proxyv1.Settings{}), `settings "others": is not honoured, only "settings"`},
		{builder(false), settings("settings", newer), `settings "settings": resource: holds a field of hauberk.proxy.v1.Settings that this version does not know`},
		{builder(true), settings("settings", &proxyv1.Settings{}), "settings are not honoured outside a mesh: they are flags of the program"},
	} {
		if _, err := c.builder.Build(nil, 1, c.in); err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

// TestPostQuantum: the setting of the process reaches both sides.
func TestPostQuantum(t *testing.T) {
	for _, on := range []bool{false, true} {
		b := config.New(config.Deps{Identity: &tls.Identity{}, Trust: &tls.Trust{}, Filters: filters.Factories(), Resolver: hosts{}, PostQuantum: on})
		g, err := b.Build(nil, 1, onTheWire(t, everything(t), nil))
		if err != nil {
			t.Fatal(err)
		}
		for side, c := range map[string]*stdtls.Config{
			"listener": g.Listeners["inbound|strict"].Chains[0].TLS, "cluster": g.Clusters["outbound|cart|80"].Spec().TLS.Config,
		} {
			if slices.Contains(c.CurvePreferences, stdtls.SecP256r1MLKEM768) != on {
				t.Errorf("%s, %t: %v", side, on, c.CurvePreferences)
			}
		}
	}
}
