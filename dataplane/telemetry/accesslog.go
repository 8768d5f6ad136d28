package telemetry

import (
	"strconv"
	"sync"
)

// AccessLog writes a line for each request and connection. It is a Recorder.
type AccessLog struct {
	encode func(dst []byte, r *Record) []byte
	out    *LogWriter
	lines  sync.Pool // *[]byte
}

// NewTextLog writes lines in Envoy's default format. A record that the mesh refused, or that a shadow rule would have
// refused, is followed by what Envoy's format has no place for, as name=value:
//
//	reason=permission_denied policy="default-deny" rule="default-deny" peer="spiffe://..." shadow_rule="..." failure="..."
//
// Only names with a value are written. Programs that read Envoy's format take the line as it is and ignore the rest.
func NewTextLog(out *LogWriter) *AccessLog {
	format, err := CompileFormat(defaultFormat[:len(defaultFormat)-1])
	if err != nil {
		panic(err) // a mistake of this program
	}
	return newLog(out, func(dst []byte, r *Record) []byte {
		dst = format.Append(dst, r)
		if r.Reason != "" || r.ShadowRule != "" || r.TransportFailure != "" {
			dst = appendWhy(dst, r)
		}
		return append(dst, '\n')
	})
}

// NewFormatLog writes exactly what format says, nothing added; a line break must be in it.
func NewFormatLog(out *LogWriter, format *Format) *AccessLog { return newLog(out, format.Append) }

// NewJSONLog writes one object a line, with the keys of Istio's JSON log and then ours: direction, source, destination,
// source_id, destination_id, tls_version, reason, policy, rule, shadow_rule, attempts, grpc_status. Numbers are numbers; what
// is absent is null.
func NewJSONLog(out *LogWriter) *AccessLog { return newLog(out, appendRecordJSON) }

func newLog(out *LogWriter, encode func([]byte, *Record) []byte) *AccessLog {
	return &AccessLog{encode: encode, out: out, lines: sync.Pool{New: func() any {
		b := make([]byte, 0, 512)
		return &b
	}}}
}

// Opened writes nothing: a connection is logged when it ends.
func (l *AccessLog) Opened(*Record) {}

// Record writes r's line, or drops it if the writer is too far behind.
func (l *AccessLog) Record(r *Record) {
	line := l.lines.Get().(*[]byte)
	*line = l.encode((*line)[:0], r)
	l.out.write(*line)
	if cap(*line) <= 16<<10 { // one request with huge headers must not make the pool big for ever
		l.lines.Put(line)
	}
}

func appendWhy(dst []byte, r *Record) []byte {
	field := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, ' '), name...), '=', '"')
			dst = append(appendEscaped(dst, value), '"')
		}
	}
	if r.Reason != "" { // a code of our own: letters and underscores
		dst = append(append(dst, " reason="...), r.Reason...)
	}
	field("policy", r.Policy)
	field("rule", r.Rule)
	field("peer", peerID(r))
	field("shadow_rule", r.ShadowRule)
	field("failure", r.TransportFailure)
	return dst
}

// jsonFields are the keys in order and the operators that give their values.
var jsonFields = [...]struct {
	key string
	op  *operator
}{
	{"start_time", nil},
	{"route_name", operators["ROUTE_NAME"]},
	{"method", requestHeaders[":METHOD"]},
	{"path", textOp(func(r *Record) string {
		if r.OriginalPath != "" {
			return r.OriginalPath
		}
		return r.Path
	})},
	{"protocol", operators["PROTOCOL"]},
	{"response_code", operators["RESPONSE_CODE"]},
	{"response_flags", operators["RESPONSE_FLAGS"]},
	{"response_code_details", operators["RESPONSE_CODE_DETAILS"]},
	{"connection_termination_details", operators["CONNECTION_TERMINATION_DETAILS"]},
	{"bytes_received", operators["BYTES_RECEIVED"]},
	{"bytes_sent", operators["BYTES_SENT"]},
	{"duration", operators["DURATION"]},
	{"upstream_service_time", operators["RESPONSE_DURATION"]},
	{"x_forwarded_for", requestHeaders["X-FORWARDED-FOR"]},
	{"user_agent", requestHeaders["USER-AGENT"]},
	{"request_id", requestHeaders["X-REQUEST-ID"]},
	{"authority", requestHeaders[":AUTHORITY"]},
	{"upstream_host", operators["UPSTREAM_HOST"]},
	{"upstream_cluster", operators["UPSTREAM_CLUSTER"]},
	{"upstream_local_address", operators["UPSTREAM_LOCAL_ADDRESS"]},
	{"downstream_local_address", operators["DOWNSTREAM_LOCAL_ADDRESS"]},
	{"downstream_remote_address", operators["DOWNSTREAM_REMOTE_ADDRESS"]},
	{"requested_server_name", operators["REQUESTED_SERVER_NAME"]},
	{"upstream_transport_failure_reason", operators["UPSTREAM_TRANSPORT_FAILURE_REASON"]},
	{"direction", textOp(func(r *Record) string {
		if r.Direction == Inbound {
			return "inbound"
		}
		return "outbound"
	})},
	{"source", operators["HAUBERK_SOURCE"]},
	{"destination", operators["HAUBERK_DESTINATION"]},
	{"source_id", operators["HAUBERK_SOURCE_ID"]},
	{"destination_id", operators["HAUBERK_DESTINATION_ID"]},
	{"tls_version", operators["HAUBERK_TLS_VERSION"]},
	{"reason", operators["HAUBERK_REASON"]},
	{"policy", operators["HAUBERK_POLICY"]},
	{"rule", operators["HAUBERK_RULE"]},
	{"shadow_rule", operators["HAUBERK_SHADOW_RULE"]},
	{"attempts", operators["UPSTREAM_REQUEST_ATTEMPT_COUNT"]},
	{"grpc_status", operators["GRPC_STATUS_NUMBER"]},
}

func appendRecordJSON(dst []byte, r *Record) []byte {
	for i := range jsonFields {
		f := &jsonFields[i]
		if i == 0 {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), f.key...), '"', ':')
		dst = appendJSONValue(dst, f.op, r)
	}
	return append(dst, '}', '\n')
}

func appendJSONValue(dst []byte, op *operator, r *Record) []byte {
	switch {
	case op == nil:
		dst = append(dst, '"')
		dst = r.Start.UTC().AppendFormat(dst, envoyTime)
		return append(dst, '"')
	case op.number != nil:
		if n, ok := op.number(r); ok {
			return strconv.AppendInt(dst, n, 10)
		}
	case op.addr != nil:
		if a := op.addr(r); a.IsValid() {
			dst = append(dst, '"')
			dst = op.appendAddr(dst, a)
			return append(dst, '"')
		}
	default:
		if s := op.text(r); s != "" {
			return appendJSON(dst, s)
		}
	}
	return append(dst, "null"...)
}
