package admin

import (
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// decision is how /decisions shows one: the names that the control plane's API uses for them too.
type decision struct {
	Time             time.Time `json:"time"`
	Direction        string    `json:"direction"`
	RequestID        string    `json:"requestID,omitempty"`
	Source           string    `json:"source,omitempty"`
	Destination      string    `json:"destination,omitempty"`
	SourceID         string    `json:"sourceID,omitempty"`
	DestinationID    string    `json:"destinationID,omitempty"`
	TLSVersion       string    `json:"tlsVersion,omitempty"`
	Protocol         string    `json:"protocol"`
	Method           string    `json:"method,omitempty"`
	Path             string    `json:"path,omitempty"`
	Status           int       `json:"status,omitempty"`
	GRPCStatus       *int      `json:"grpcStatus,omitempty"` // of gRPC calls; 0 is OK
	Flags            string    `json:"flags,omitempty"`
	Details          string    `json:"details,omitempty"`
	Reason           string    `json:"reason,omitempty"`
	Policy           string    `json:"policy,omitempty"`
	Rule             string    `json:"rule,omitempty"`
	ShadowRule       string    `json:"shadowRule,omitempty"`
	Route            string    `json:"route,omitempty"`
	Upstream         string    `json:"upstream,omitempty"`
	Attempts         int       `json:"attempts,omitempty"`
	DurationMS       float64   `json:"durationMs"`
	TransportFailure string    `json:"transportFailure,omitempty"`
}

func view(d telemetry.Decision) decision {
	v := decision{
		Time: d.Time, Direction: "inbound", RequestID: d.RequestID, Source: d.Source, Destination: d.Destination,
		SourceID: d.SourceID, DestinationID: d.DestinationID, TLSVersion: telemetry.TLSName(d.TLSVersion),
		Protocol: d.Protocol, Method: d.Method, Path: d.Path, Status: d.Status, Flags: d.Flags, Details: d.Details,
		Reason: d.Reason, Policy: d.Policy, Rule: d.Rule, ShadowRule: d.ShadowRule, Route: d.Route, Attempts: d.Attempts,
		DurationMS: float64(d.Duration.Microseconds()) / 1000, TransportFailure: d.TransportFailure,
	}
	if d.Outbound {
		v.Direction = "outbound"
	}
	if d.GRPCStatus != telemetry.NoGRPCStatus {
		v.GRPCStatus = &d.GRPCStatus
	}
	if d.Upstream.IsValid() {
		v.Upstream = d.Upstream.String()
	}
	return v
}
