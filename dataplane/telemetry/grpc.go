package telemetry

import "strconv"

// grpcCode is how one gRPC status is written, and whose fault it is.
type grpcCode struct {
	camel, snake string // %GRPC_STATUS(CAMEL_STRING)% and (SNAKE_STRING), in Envoy's spelling
	// fault: the call failed for a reason that the caller has no part in.
	fault bool
}

// grpcCodes is gRPC's table of statuses, by number. A fault is what the usual mapping to HTTP makes a 5xx of; Envoy's
// outlier detection goes by the same mapping, and OpenTelemetry calls the same six an error of the server. A
// PERMISSION_DENIED or NOT_FOUND of the application is an answer like its 403 or 404, and no error of the edge; Linkerd,
// which counts the former, has no count of denied calls beside it, and we have.
var grpcCodes = [...]grpcCode{
	{"OK", "OK", false},
	{"Canceled", "CANCELLED", false},
	{"Unknown", "UNKNOWN", true},
	{"InvalidArgument", "INVALID_ARGUMENT", false},
	{"DeadlineExceeded", "DEADLINE_EXCEEDED", true},
	{"NotFound", "NOT_FOUND", false},
	{"AlreadyExists", "ALREADY_EXISTS", false},
	{"PermissionDenied", "PERMISSION_DENIED", false},
	{"ResourceExhausted", "RESOURCE_EXHAUSTED", false},
	{"FailedPrecondition", "FAILED_PRECONDITION", false},
	{"Aborted", "ABORTED", false},
	{"OutOfRange", "OUT_OF_RANGE", false},
	{"Unimplemented", "UNIMPLEMENTED", true},
	{"Internal", "INTERNAL", true},
	{"Unavailable", "UNAVAILABLE", true},
	{"DataLoss", "DATA_LOSS", true},
	{"Unauthenticated", "UNAUTHENTICATED", false},
}

// grpcStatus is how r's gRPC call ended; false: it is none, or it ended without a status.
func grpcStatus(r *Record) (code int, ok bool) {
	if !r.GRPC || r.GRPCStatus < 0 || r.GRPCStatus >= len(grpcCodes) {
		return NoGRPCStatus, false
	}
	return r.GRPCStatus, true
}

// grpcFault tells whether a gRPC call ended with a status that is not the caller's doing.
func grpcFault(r *Record) bool {
	code, ok := grpcStatus(r)
	return ok && grpcCodes[code].fault
}

func grpcCamel(r *Record) string {
	if code, ok := grpcStatus(r); ok {
		return grpcCodes[code].camel
	}
	return ""
}

func grpcSnake(r *Record) string {
	if code, ok := grpcStatus(r); ok {
		return grpcCodes[code].snake
	}
	return ""
}

func grpcNumber(r *Record) (int64, bool) {
	code, ok := grpcStatus(r)
	return int64(code), ok
}

// grpcOperator is %GRPC_STATUS% with one of the ways in which Envoy writes it; nil: no such way.
func grpcOperator(way string) *operator {
	switch way {
	case "", "CAMEL_STRING":
		return operators["GRPC_STATUS"]
	case "SNAKE_STRING":
		return &operator{text: grpcSnake}
	case "NUMBER":
		return operators["GRPC_STATUS_NUMBER"]
	}
	return nil
}

// GRPCLabel is the value of Istio's grpc_response_status: the number, and empty for all that is no gRPC call.
func (l Labels) GRPCLabel() string {
	if !l.GRPC || l.GRPCStatus < 0 {
		return ""
	}
	return strconv.Itoa(l.GRPCStatus)
}
