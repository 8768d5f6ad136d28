package config

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/http/http2"
)

// headerTable is the size of the table of our HPACK decoder: HTTP/2's default, and what is announced.
const headerTable = 4096

// http2Options reads the limits of HTTP/2 connections from clients.
func http2Options(r *reader, m *hcmv3.HttpConnectionManager, s *http.Spec, path string) error {
	s.HTTP2.MaxHeader, s.HTTP2.MaxFields = s.MaxHead, s.MaxFields
	o, at := m.GetHttp2ProtocolOptions(), path+".http2_protocol_options"
	if o == nil {
		return nil
	}
	s.HTTP2.ExtendedConnect = o.GetAllowConnect()
	if n := o.GetMaxConcurrentStreams(); n != nil {
		if n.GetValue() == 0 || n.GetValue() > math.MaxInt32 {
			return fmt.Errorf("%s.max_concurrent_streams: %d is not between 1 and %d", at, n.GetValue(), math.MaxInt32)
		}
		s.HTTP2.MaxStreams = n.GetValue()
	}
	if err := http2Windows(o, &s.HTTP2, at); err != nil {
		return err
	}
	if err := http2Floods(r, o, at); err != nil {
		return err
	}
	return http2Keepalive(o.GetConnectionKeepalive(), &s.HTTP2, at+".connection_keepalive")
}

// http2Windows reads how much may be on its way to us. A window that is configured does not grow: who sets one bounds memory.
func http2Windows(o *corev3.Http2ProtocolOptions, to *http2.Options, path string) error {
	const least = 65535
	for _, w := range []struct {
		field string
		value *wrapperspb.UInt32Value
	}{
		{"initial_stream_window_size", o.GetInitialStreamWindowSize()},
		{"initial_connection_window_size", o.GetInitialConnectionWindowSize()},
	} {
		if w.value != nil && (w.value.GetValue() < least || w.value.GetValue() > math.MaxInt32) {
			return fmt.Errorf("%s.%s: %d is not between %d and %d", path, w.field, w.value.GetValue(), least, math.MaxInt32)
		}
	}
	if w := o.GetInitialStreamWindowSize(); w != nil {
		to.StreamWindow, to.MaxWindow = w.GetValue(), w.GetValue()
	}
	return nil
}

// http2Floods reads the size of the header table and the limits of frames that make work without use. Ours are fixed: a
// configuration that asks for more gets the stricter ones, and one that asks for less is refused, since it would not be
// obeyed.
func http2Floods(r *reader, o *corev3.Http2ProtocolOptions, path string) error {
	switch t := o.GetHpackTableSize(); {
	case t == nil || t.GetValue() == headerTable:
	case t.GetValue() < headerTable:
		return fmt.Errorf("%s.hpack_table_size: %d is not honoured: the table has %d bytes, and no fewer",
			path, t.GetValue(), headerTable)
	default:
		r.note(path+".hpack_table_size", fmt.Sprintf("ours is smaller: %d bytes, which a peer obeys", headerTable))
	}
	for _, f := range []struct {
		field string
		value *wrapperspb.UInt32Value
		ours  uint32
	}{
		{"max_outbound_frames", o.GetMaxOutboundFrames(), http2.MaxControl},
		{"max_outbound_control_frames", o.GetMaxOutboundControlFrames(), http2.MaxControl},
		{"max_consecutive_inbound_frames_with_empty_payload", o.GetMaxConsecutiveInboundFramesWithEmptyPayload(), http2.MaxControl},
		{"max_inbound_priority_frames_per_stream", o.GetMaxInboundPriorityFramesPerStream(), http2.MaxControl},
		{"max_inbound_window_update_frames_per_data_frame_sent", o.GetMaxInboundWindowUpdateFramesPerDataFrameSent(), http2.MaxControl},
	} {
		switch {
		case f.value == nil:
		case f.value.GetValue() < f.ours:
			return fmt.Errorf("%s.%s: %d is not honoured: the limit is %d, over all frames that move nothing",
				path, f.field, f.value.GetValue(), f.ours)
		default:
			r.note(path+"."+f.field, fmt.Sprintf("ours is stricter: a connection ends after %d frames that move nothing", f.ours))
		}
	}
	return nil
}

// http2Keepalive reads how a silent connection is asked whether it lives.
func http2Keepalive(k *corev3.KeepaliveSettings, to *http2.Options, path string) error {
	if k == nil {
		return nil
	}
	var err error
	if to.Ping, err = duration(k.GetInterval(), 0, path+".interval"); err != nil {
		return err
	}
	if k.GetInterval() != nil && to.Ping < time.Millisecond {
		return fmt.Errorf("%s.interval: must be 1ms or more; leave it out to send no pings", path)
	}
	if to.PingTimeout, err = duration(k.GetTimeout(), 0, path+".timeout"); err != nil {
		return err
	}
	if to.PingTimeout < time.Millisecond {
		return fmt.Errorf("%s.timeout: is required, and 1ms or more", path)
	}
	return nil
}
