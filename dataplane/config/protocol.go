package config

//lint:file-ignore SA1019 deprecated fields are honoured: files that people have use them

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// defaultUpstreamIdle is what leaving idle_timeout out means, by Envoy's documentation.
const defaultUpstreamIdle = time.Hour

const httpOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// readHTTPOptions reads how the cluster speaks HTTP. One that does not say it takes opaque TCP, and speaks HTTP/1.1 with routes
// that lead to it.
func readHTTPOptions(r *reader, m *clusterv3.Cluster, spec *upstream.Spec) error {
	spec.IdleTimeout = defaultUpstreamIdle
	options := m.GetTypedExtensionProtocolOptions()
	for _, key := range sorted(options) {
		path := fmt.Sprintf("typed_extension_protocol_options[%q]", key)
		if key != httpOptionsKey {
			return fmt.Errorf("%s: is not honoured", path)
		}
		o := &httpv3.HttpProtocolOptions{}
		if err := r.any(options[key], path, o); err != nil {
			return err
		}
		if err := readHTTPProtocol(r, o, spec, path); err != nil {
			return err
		}
		if err := readCommonHTTP(o.GetCommonHttpProtocolOptions(), spec, path+".common_http_protocol_options"); err != nil {
			return err
		}
	}
	if err := readOldHTTPOptions(r, m, spec); err != nil {
		return err
	}
	if limit := m.GetPerConnectionBufferLimitBytes(); limit != nil {
		boundWindows(&spec.HTTP2, limit.GetValue())
	}
	return nil
}

// boundWindows keeps what a stream's sender may be ahead within what is to be buffered at most. Nothing else that is kept of
// a connection is more than the least window.
func boundWindows(o *upstream.HTTP2Options, limit uint32) {
	const least, most = 64 << 10, 4 << 20 // what a window begins with and may grow to where nothing is said
	limit = max(limit, least)
	if o.MaxWindow == 0 {
		o.MaxWindow = most
	}
	if o.StreamWindow == 0 {
		o.StreamWindow = least
	}
	o.MaxWindow, o.StreamWindow = min(o.MaxWindow, limit), min(o.StreamWindow, limit)
}

func readHTTPProtocol(r *reader, m *httpv3.HttpProtocolOptions, spec *upstream.Spec, path string) error {
	switch p := m.GetUpstreamProtocolOptions().(type) {
	case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		switch {
		case p.ExplicitHttpConfig.GetHttpProtocolOptions() != nil:
			spec.Protocol = upstream.HTTP1
			return nil
		case p.ExplicitHttpConfig.GetHttp2ProtocolOptions() != nil:
			spec.Protocol = upstream.HTTP2
			return readHTTP2(r, p.ExplicitHttpConfig.GetHttp2ProtocolOptions(), spec, path+".explicit_http_config.http2_protocol_options")
		}
		return fmt.Errorf("%s.explicit_http_config: only http_protocol_options (HTTP/1.1) and http2_protocol_options are honoured", path)
	case *httpv3.HttpProtocolOptions_AutoConfig:
		spec.Protocol = upstream.Negotiated
		return readHTTP2(r, p.AutoConfig.GetHttp2ProtocolOptions(), spec, path+".auto_config.http2_protocol_options")
	}
	return fmt.Errorf("%s: must have explicit_http_config or auto_config", path)
}

// readOldHTTPOptions reads the members of the cluster itself that typed_extension_protocol_options has replaced, and that are
// still in many files: one for HTTP/2 means that it is spoken.
func readOldHTTPOptions(r *reader, m *clusterv3.Cluster, spec *upstream.Spec) error {
	old := m.GetHttpProtocolOptions() != nil || m.GetHttp2ProtocolOptions() != nil || m.GetCommonHttpProtocolOptions() != nil ||
		m.GetMaxRequestsPerConnection() != nil
	if !old {
		return nil
	}
	if len(m.GetTypedExtensionProtocolOptions()) > 0 {
		return errors.New("typed_extension_protocol_options: stands beside http_protocol_options, http2_protocol_options, " +
			"common_http_protocol_options or max_requests_per_connection, which it replaces; move them into it")
	}
	if n := m.GetMaxRequestsPerConnection(); n != nil {
		spec.MaxRequestsPerConnection = n.GetValue()
	}
	if err := readCommonHTTP(m.GetCommonHttpProtocolOptions(), spec, "common_http_protocol_options"); err != nil {
		return err
	}
	if m.GetHttp2ProtocolOptions() == nil {
		if m.GetHttpProtocolOptions() != nil {
			spec.Protocol = upstream.HTTP1
		}
		return nil
	}
	spec.Protocol = upstream.HTTP2
	return readHTTP2(r, m.GetHttp2ProtocolOptions(), spec, "http2_protocol_options")
}

func readCommonHTTP(m *corev3.HttpProtocolOptions, spec *upstream.Spec, path string) error {
	var errs [2]error
	spec.IdleTimeout, errs[0] = duration(m.GetIdleTimeout(), defaultUpstreamIdle, path+".idle_timeout")
	spec.MaxConnection, errs[1] = duration(m.GetMaxConnectionDuration(), 0, path+".max_connection_duration")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for _, n := range []struct {
		field string
		value *wrapperspb.UInt32Value
		to    *uint32
		least uint32
	}{
		{"max_requests_per_connection", m.GetMaxRequestsPerConnection(), &spec.MaxRequestsPerConnection, 0},
		{"max_headers_count", m.GetMaxHeadersCount(), &spec.MaxFields, 1},
	} {
		if n.value == nil {
			continue
		}
		if *n.to = n.value.GetValue(); *n.to < n.least || *n.to > math.MaxInt32 {
			return fmt.Errorf("%s.%s: %d is not between %d and %d", path, n.field, *n.to, n.least, math.MaxInt32)
		}
	}
	return nil
}

// readHTTP2 reads the limits of HTTP/2 connections to endpoints.
func readHTTP2(r *reader, m *corev3.Http2ProtocolOptions, spec *upstream.Spec, path string) error {
	if m == nil {
		return nil
	}
	var o http2.Options
	if n := m.GetMaxConcurrentStreams(); n != nil {
		if o.MaxStreams = n.GetValue(); o.MaxStreams == 0 || o.MaxStreams > math.MaxInt32 {
			return fmt.Errorf("%s.max_concurrent_streams: %d is not between 1 and %d", path, o.MaxStreams, math.MaxInt32)
		}
	}
	if err := http2Windows(m, &o, path); err != nil {
		return err
	}
	if err := http2Floods(r, m, path); err != nil {
		return err
	}
	if err := http2Keepalive(m.GetConnectionKeepalive(), &o, path+".connection_keepalive"); err != nil {
		return err
	}
	spec.HTTP2 = upstream.HTTP2Options{
		MaxStreams: o.MaxStreams, StreamWindow: o.StreamWindow, MaxWindow: o.MaxWindow, Ping: o.Ping, PingTimeout: o.PingTimeout,
	}
	return nil
}
