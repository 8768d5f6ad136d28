package config

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream/lb"
)

// readEndpoints reads all. names tells whether an address may be a name to resolve.
func readEndpoints(r *reader, m *endpointv3.ClusterLoadAssignment, path string, names bool) ([]upstream.EndpointSpec, error) {
	var out []upstream.EndpointSpec
	unequal := false
	for i, locality := range m.GetEndpoints() {
		for j, e := range locality.GetLbEndpoints() {
			at := join(path, fmt.Sprintf("endpoints[%d].lb_endpoints[%d]", i, j))
			spec, err := readEndpoint(r, e, at, names)
			if err != nil {
				return nil, err
			}
			unequal = unequal || len(out) > 0 && max(spec.Weight, 1) != max(out[0].Weight, 1)
			out = append(out, spec)
		}
	}
	if unequal && len(out) > lb.MaxWeighted {
		return nil, fmt.Errorf("%s: unequal weights of more than %d endpoints are not honoured", join(path, "endpoints"), lb.MaxWeighted)
	}
	return out, nil
}

func readEndpoint(r *reader, m *endpointv3.LbEndpoint, path string, names bool) (upstream.EndpointSpec, error) {
	var e upstream.EndpointSpec
	own, err := r.metadata(m.GetMetadata(), path+".metadata", metaDataplane)
	if err != nil {
		return e, err
	}
	e.Name = own.text(metaDataplane)
	// What is not healthy to Envoy, degraded and draining too, is used only if no other is left.
	e.Unready = m.GetHealthStatus() != corev3.HealthStatus_UNKNOWN && m.GetHealthStatus() != corev3.HealthStatus_HEALTHY
	if w := m.GetLoadBalancingWeight(); w != nil {
		if e.Weight = w.GetValue(); e.Weight == 0 {
			return e, fmt.Errorf("%s.load_balancing_weight: must be above zero", path)
		}
	}
	e.Hostname = m.GetEndpoint().GetHostname()
	return e, readAddress(&e, m.GetEndpoint().GetAddress(), path+".endpoint.address", names)
}

func readAddress(e *upstream.EndpointSpec, m *corev3.Address, path string, names bool) error {
	switch {
	case m.GetPipe() != nil:
		if !strings.HasPrefix(m.GetPipe().GetPath(), "/") {
			return fmt.Errorf("%s.pipe.path: %q is not absolute", path, m.GetPipe().GetPath())
		}
		e.Unix = m.GetPipe().GetPath()
		return nil
	case m.GetSocketAddress() == nil:
		return fmt.Errorf("%s: is not set", path)
	}
	at, socket := path+".socket_address", m.GetSocketAddress()
	if host := socket.GetAddress(); names && isName(host) {
		e.Host = strings.ToLower(host)
		socket = proto.Clone(socket).(*corev3.SocketAddress)
		socket.Address = "0.0.0.0" // the rest is checked as that of an address
	}
	var err error
	if e.Addr, err = socketAddress(socket, at); err != nil {
		return err
	}
	if e.Addr.Port() == 0 {
		return fmt.Errorf("%s.port_value: is not set", at)
	}
	if e.Host != "" {
		e.Addr = netip.AddrPortFrom(netip.Addr{}, e.Addr.Port())
	}
	return nil
}

// isName tells a host name from an address, and from what is neither.
func isName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host == "" || len(host) > 253 {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return false
			}
		}
	}
	return true
}
