package http

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// A gRPC call that was answered without a grpc-status is recorded as its client reads it.
func TestInferGRPC(t *testing.T) {
	const none = telemetry.NoGRPCStatus
	for _, c := range []struct {
		name string
		rec  telemetry.Record
		want int
	}{
		{"said", telemetry.Record{GRPC: true, GRPCStatus: 5, Status: 200}, 5},
		{"OK", telemetry.Record{GRPC: true, GRPCStatus: 0, Status: 200}, 0},
		{"200 without trailers", telemetry.Record{GRPC: true, GRPCStatus: none, Status: 200, Flags: "UC"}, 2},
		{"an HTTP server's 404", telemetry.Record{GRPC: true, GRPCStatus: none, Status: 404}, 12},
		{"503", telemetry.Record{GRPC: true, GRPCStatus: none, Status: 503}, 14},
		{"the client went away", telemetry.Record{GRPC: true, GRPCStatus: none, Status: 200, Flags: "DC"}, none},
		{"no answer at all", telemetry.Record{GRPC: true, GRPCStatus: none}, none},
		{"no gRPC", telemetry.Record{GRPCStatus: none, Status: 503}, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &exchange{rec: c.rec}
			if x.inferGRPC(); x.rec.GRPCStatus != c.want {
				t.Errorf("recorded as %d, want %d", x.rec.GRPCStatus, c.want)
			}
		})
	}
}
