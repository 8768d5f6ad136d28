package telemetry

import (
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// call is a gRPC call as the caller's proxy records it.
func call(code int) *Record {
	r := request()
	r.Protocol, r.Method, r.Path = "HTTP/2", "POST", "/cart.Cart/Add"
	r.GRPC, r.GRPCStatus = true, code
	return r
}

// The names are those of grpc-go, but for the two that Envoy writes its own way.
func TestGRPCStatusNames(t *testing.T) {
	format, err := CompileFormat("%GRPC_STATUS% %GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%")
	if err != nil {
		t.Fatal(err)
	}
	for code := range int(codes.Unauthenticated) + 1 {
		camel := codes.Code(code).String()
		var snake string
		for name, c := range grpcNames() {
			if c == codes.Code(code) {
				snake = name
			}
		}
		n, err := json.Marshal(code)
		if err != nil {
			t.Fatal(err)
		}
		want := camel + " " + camel + " " + snake + " " + string(n) + " " + string(n)
		if got := string(format.Append(nil, call(code))); got != want {
			t.Errorf("%d: got %s, want %s", code, got, want)
		}
	}
	for name, r := range map[string]*Record{
		"no gRPC": request(), "a connection": connection(), "no status": call(NoGRPCStatus), "an unknown status": call(17),
	} {
		if got := string(format.Append(nil, r)); got != "- - - - -" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// grpcNames are the names in snake case as gRPC's own JSON reader takes them.
func grpcNames() map[string]codes.Code {
	names := map[string]codes.Code{}
	for _, name := range []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
		"UNAUTHENTICATED",
	} {
		var c codes.Code
		if err := c.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil {
			panic(err)
		}
		names[name] = c
	}
	return names
}

func TestGRPCStatusInJSON(t *testing.T) {
	for _, c := range []struct {
		record *Record
		want   any
	}{{call(0), 0.0}, {call(7), 7.0}, {call(NoGRPCStatus), nil}, {request(), nil}} {
		var got map[string]any
		if err := json.Unmarshal([]byte(logged(t, NewJSONLog, c.record)), &got); err != nil {
			t.Fatal(err)
		}
		if v, there := got["grpc_status"]; !there || v != c.want {
			t.Errorf("grpc_status is %v, want %v", v, c.want)
		}
	}
}

// A gRPC call is told apart in metrics, and an edge's error is a status that is not the caller's doing.
func TestGRPCCounts(t *testing.T) {
	m, e := NewMetrics(), NewEdges()
	denied := call(7)
	denied.Direction, denied.Reason = Inbound, reasonPermissionDenied
	gone := call(NoGRPCStatus)
	gone.Flags = "DC"
	all := []*Record{request(), denied, gone}
	for code := range grpcCodes {
		all = append(all, call(code))
	}
	for _, r := range all {
		m.Record(r)
		e.Record(r)
	}
	labels := map[string]int{}
	for k, s := range m.HTTP() {
		labels[k.Protocol+" "+k.GRPCLabel()] += int(s.Requests.Value())
	}
	for label, want := range map[string]int{"http ": 1, "grpc ": 1, "grpc 0": 1, "grpc 7": 2, "grpc 16": 1} {
		if labels[label] != want {
			t.Errorf("%d requests with %q, want %d", labels[label], label, want)
		}
	}
	for _, n := range e.Swap() {
		want := EdgeCount{Requests: 19, Errors: 6} // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
		if !n.Outbound {
			want = EdgeCount{Requests: 1, Denied: 1}
		}
		if n.Protocol != "http" || n.Requests != want.Requests || n.Errors != want.Errors || n.Denied != want.Denied {
			t.Errorf("edge %+v, want %+v", n, want)
		}
	}
}

func TestGRPCStatusInDecisions(t *testing.T) {
	g := NewRing()
	for i, r := range []*Record{call(0), call(14), request()} {
		r.Start = r.Start.Add(time.Duration(i) * time.Second)
		g.Record(r)
	}
	var got []int
	for _, d := range g.Query(Filter{}) {
		got = append(got, d.GRPCStatus)
	}
	if len(got) != 3 || got[0] != NoGRPCStatus || got[1] != 14 || got[2] != 0 {
		t.Errorf("statuses, newest first: %v", got)
	}
}
