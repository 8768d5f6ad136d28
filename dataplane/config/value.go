package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// The members of our metadata on listeners, clusters and endpoints (see docs/envoy-compat.md): what Envoy's messages have
// no field for.
const (
	namespace         = "hauberk.mesh"
	metaService       = "service"
	metaPort          = "port"
	metaPortName      = "portName"
	metaProbe         = "probe"
	metaProbePath     = "probePath"
	metaProbeInterval = "probeInterval"
	metaDataplane     = "dataplane"
)

// duration is d, or what Envoy's documentation says that leaving it out means. A zero is off.
func duration(d *durationpb.Duration, absent time.Duration, path string) (time.Duration, error) {
	if d == nil {
		return absent, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if d.AsDuration() < 0 {
		return 0, fmt.Errorf("%s: %s is negative", path, d.AsDuration())
	}
	return d.AsDuration(), nil
}

// socketAddress is an IP with a port; a host name would need a resolver.
func socketAddress(a *corev3.SocketAddress, path string) (netip.AddrPort, error) {
	if a.GetProtocol() != corev3.SocketAddress_TCP {
		return netip.AddrPort{}, fmt.Errorf("%s.protocol: %s is not honoured, only TCP", path, a.GetProtocol())
	}
	ip, err := netip.ParseAddr(a.GetAddress())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s.address: %w", path, err)
	}
	if a.GetPortValue() > 65535 {
		return netip.AddrPort{}, fmt.Errorf("%s.port_value: %d is above 65535", path, a.GetPortValue())
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.GetPortValue())), nil
}

// overADS makes sure that a resource is to come on the stream on which its name came.
func overADS(c *corev3.ConfigSource, path string) error {
	if c.GetAds() == nil {
		return fmt.Errorf("%s: only ads is honoured", path)
	}
	// AUTO is V3 for every transport that exists today.
	if v := c.GetResourceApiVersion(); v != corev3.ApiVersion_V3 && v != corev3.ApiVersion_AUTO {
		return fmt.Errorf("%s.resource_api_version: %s is not honoured, only V3", path, v)
	}
	return nil
}

// meta is our part of a resource's metadata. Parts of others mean nothing here and are noted.
type meta map[string]*structpb.Value

// metadata reads m. known are the members that have a meaning at this place; any other of ours is refused.
func (r *reader) metadata(m *corev3.Metadata, path string, known ...string) (meta, error) {
	for name := range m.GetFilterMetadata() {
		if name != namespace {
			r.note(fmt.Sprintf("%s.filter_metadata[%q]", path, name), "describes the resource to extensions that are not here")
		}
	}
	own := m.GetFilterMetadata()[namespace].GetFields()
	for _, name := range sorted(own) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s.filter_metadata[%q][%q]: is not honoured", path, namespace, name)
		}
		_, isText := own[name].GetKind().(*structpb.Value_StringValue)
		if _, isNumber := own[name].GetKind().(*structpb.Value_NumberValue); isText == (name == metaPort) || isNumber != (name == metaPort) {
			return nil, fmt.Errorf("%s.filter_metadata[%q][%q]: is of the wrong kind", path, namespace, name)
		}
	}
	return own, nil
}

func (m meta) text(name string) string { return m[name].GetStringValue() }
