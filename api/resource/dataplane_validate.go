package resource

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
)

func validateDataplane(meta api.Meta, d *Dataplane) (ps api.Problems) {
	for _, label := range []string{api.LabelService, api.LabelZone} {
		if v, has := meta.Labels[label]; has {
			if message, fix := api.CheckDNSLabel(v); message != "" {
				ps.Add("metadata.labels["+label+"]", message, fix)
			}
		}
	}
	if v, has := meta.Labels[api.LabelWorkload]; has && v == "" {
		ps.Add("metadata.labels["+api.LabelWorkload+"]", "is empty", "name the workload, or remove the label: it is the service then")
	}
	ps = append(ps, checkAddress(d.Address)...)
	ps = append(ps, validateInbounds(d)...)
	return append(ps, validateOutbounds(d)...)
}

// checkAddress refuses what other proxies could not dial.
func checkAddress(address string) (ps api.Problems) {
	const field = "spec.address"
	if address == "" {
		ps.Add(field, "is missing", "write the IP at which other proxies reach this one, as 127.0.0.1")
		return ps
	}
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		ps.Add(field, fmt.Sprintf("%q is not an IP address", address), "write an IP such as 127.0.0.1 or ::1; names are not resolved here")
	case ip.Zone() != "":
		ps.Add(field, fmt.Sprintf("%q has an IPv6 zone, which means nothing to other hosts", address), "write the address without it")
	case ip.IsUnspecified() || ip.IsMulticast():
		ps.Add(field, fmt.Sprintf("%q is no address that others can dial", address), "write the host's own IP")
	}
	return ps
}

func validateInbounds(d *Dataplane) (ps api.Problems) {
	names, ports, listens := map[string]int{}, map[uint32]int{}, map[uint32]int{}
	for i := range d.Inbounds {
		in := &d.Inbounds[i]
		at := fmt.Sprintf("spec.inbounds[%d]", i)
		port(&ps, at+".port", in.Port, false)
		port(&ps, at+".listenPort", in.ListenPort, true)
		port(&ps, at+".targetPort", in.TargetPort, true)
		if in.Name != "" {
			if message, fix := api.CheckDNSLabel(in.Name); message != "" {
				ps.Add(at+".name", message, fix)
			}
		}
		ps = append(ps, checkProtocol(at+".protocol", in.Protocol)...)
		ps = append(ps, checkTarget(at, in)...)
		ps = append(ps, checkProbe(at+".probe", in)...)

		if first, twice := seen(names, in.NameOrDefault(), i); twice {
			ps.Add(at+".name", fmt.Sprintf("%q is the name of spec.inbounds[%d] too", in.NameOrDefault(), first),
				"give each inbound a name of its own (without one it is the protocol)")
		}
		if first, twice := seen(ports, in.Port, i); twice && in.Port != 0 {
			ps.Add(at+".port", fmt.Sprintf("%d is the port of spec.inbounds[%d] too", in.Port, first), "give each inbound a port of its own")
		}
		if first, twice := seen(listens, in.ListenPortOrDefault(), i); twice && in.Port != 0 {
			ps.Add(at+".listenPort", fmt.Sprintf("%d is where spec.inbounds[%d] listens too", in.ListenPortOrDefault(), first),
				"let each inbound listen on a port of its own")
		}
		if loops(d, in) {
			ps.Add(at+".targetPort", fmt.Sprintf("%d is where the proxy itself listens, on the same address", in.TargetPortOrDefault()),
				"give listenPort and targetPort different ports")
		}
	}
	return ps
}

// loops: with address and application both on 127.0.0.1 the proxy would call itself.
func loops(d *Dataplane, in *Inbound) bool {
	ip, err := netip.ParseAddr(d.Address)
	return err == nil && ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) && in.Target == "" && in.Port != 0 &&
		in.TargetPortOrDefault() == in.ListenPortOrDefault()
}

func validateOutbounds(d *Dataplane) (ps api.Problems) {
	ports, backends := map[uint32]int{}, map[api.BackendRef]int{}
	for i, o := range d.Outbounds {
		at := fmt.Sprintf("spec.outbounds[%d]", i)
		port(&ps, at+".port", o.Port, false)
		ref := o.BackendRef
		ref.Kind = cmp.Or(ref.Kind, "MeshService")
		if ref.Kind != "MeshService" {
			ps.Add(at+".backendRef.kind", fmt.Sprintf("%q is not a kind of backend", ref.Kind), "write MeshService")
		}
		if ref.Name == "" {
			ps.Add(at+".backendRef.name", "is missing", "name the service that is called")
		} else if message, fix := api.CheckName(ref.Name); message != "" {
			ps.Add(at+".backendRef.name", message, fix)
		}
		port(&ps, at+".backendRef.port", ref.Port, false)
		if first, twice := seen(ports, o.Port, i); twice && o.Port != 0 {
			ps.Add(at+".port", fmt.Sprintf("%d is the port of spec.outbounds[%d] too", o.Port, first), "give each outbound a port of its own")
		}
		if first, twice := seen(backends, ref, i); twice && ref.Name != "" {
			ps.Add(at+".backendRef", fmt.Sprintf("is the backend of spec.outbounds[%d] too", first), "remove one of the two")
		}
		for j := range d.Inbounds {
			if in := &d.Inbounds[j]; in.ListenPortOrDefault() == o.Port && o.Port != 0 && onLoopback(d.Address) {
				ps.Add(at+".port", fmt.Sprintf("%d is where spec.inbounds[%d] listens on the same address", o.Port, j), "choose another port for one of them")
			}
		}
	}
	return ps
}

func onLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func checkProtocol(field, protocol string) (ps api.Problems) {
	switch protocol {
	case "", ProtocolHTTP, ProtocolHTTP2, ProtocolGRPC, ProtocolTCP:
		return nil
	}
	fix := "write http, http2, grpc or tcp"
	switch lower := strings.ToLower(protocol); lower {
	case ProtocolHTTP, ProtocolHTTP2, ProtocolGRPC, ProtocolTCP:
		fix = "write " + lower
	case "https", "tls":
		fix = "write tcp: the application's own TLS passes through unread"
	case "h2", "h2c":
		fix = "write http2"
	}
	ps.Add(field, fmt.Sprintf("%q is not a protocol", protocol), fix)
	return ps
}

func checkTarget(at string, in *Inbound) (ps api.Problems) {
	if in.Target == "" {
		return nil
	}
	if in.TargetPort != 0 {
		ps.Add(at+".target", "stands beside targetPort", "keep one of the two")
	}
	path, ok := strings.CutPrefix(in.Target, "unix://")
	// 107: sun_path is 108 bytes with its closing NUL (unix(7)).
	if !ok || !strings.HasPrefix(path, "/") || len(path) < 2 || len(path) > 107 || strings.ContainsRune(path, 0) {
		ps.Add(at+".target", fmt.Sprintf("%q is not a Unix socket", in.Target), "write unix:///path, at most 107 bytes of path")
	}
	return ps
}

func checkProbe(at string, in *Inbound) (ps api.Problems) {
	if in.Probe == nil {
		return nil
	}
	if d := in.Probe.Interval; d != nil && (d.Milliseconds() < 100 || d.Minutes() > 60) {
		ps.Add(at+".interval", fmt.Sprintf("%s is out of range", d.Duration), "write 100ms to 1h")
	}
	if in.Probe.HTTP == nil {
		return ps
	}
	if in.ProtocolOrDefault() == ProtocolTCP {
		ps.Add(at+".http", "is on an inbound that is not http", "set protocol: http, http2 or grpc, or remove the probe: a tcp inbound is probed by a connect")
	}
	p := in.Probe.HTTP.Path
	if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, " #\t\r\n\x00") {
		ps.Add(at+".http.path", fmt.Sprintf("%q is not a path", p), "begin it with '/', as /healthz")
	}
	return ps
}

// port adds a problem if p is no port. Zero is "not written".
func port(ps *api.Problems, field string, p uint32, optional bool) {
	if p == 0 && optional {
		return
	}
	if p == 0 {
		ps.Add(field, "is missing", "write a number from 1 to 65535")
		return
	}
	if message, fix := api.CheckPort(p); message != "" {
		ps.Add(field, message, fix)
	}
}

// seen notes that key was met at i, and tells whether and where it was met before.
func seen[K comparable](m map[K]int, key K, i int) (first int, twice bool) {
	if first, twice = m[key]; !twice {
		m[key] = i
	}
	return first, twice
}
