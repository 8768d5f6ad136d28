package rest

import (
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/policy"
)

// Error is the body of every answer that is no success.
type Error struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
	// Problems are all that is wrong with the documents of the request, which count from 1.
	Problems []api.Finding `json:"problems,omitempty"`
}

// List answers GET of a kind.
type List struct {
	Items []*api.Resource `json:"items"`
}

// Applied answers a write.
type Applied struct {
	// Generation is the one that the write made, or the present one if it changed nothing.
	Generation uint64            `json:"generation"`
	Resources  []AppliedResource `json:"resources"`
	Warnings   []string          `json:"warnings,omitempty"`
}

// AppliedResource is what became of one document: created, configured, unchanged or deleted.
type AppliedResource struct {
	Kind    string `json:"kind"`
	Mesh    string `json:"mesh,omitempty"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
}

// Propagation is how far a generation has come.
type Propagation struct {
	Mesh       string `json:"mesh"`
	Generation uint64 `json:"generation"`
	// Done: every proxy that is affected and connected has taken it or refused it.
	Done         bool     `json:"done"`
	Acked        []string `json:"acked"`
	NACKed       []NACK   `json:"nacked"`
	Waiting      []string `json:"waiting"`
	NotConnected []string `json:"notConnected"`
}

// NACK is a proxy's refusal of a generation.
type NACK struct {
	Dataplane string `json:"dataplane"`
	Reason    string `json:"reason"`
}

// Status answers /status.
type Status struct {
	Mesh       string        `json:"mesh"`
	Generation uint64        `json:"generation"`
	Dataplanes []ProxyStatus `json:"dataplanes"`
}

// ProxyStatus is one dataplane: what it runs, and whether that is what it should run.
type ProxyStatus struct {
	Dataplane string `json:"dataplane"`
	Service   string `json:"service"`
	Connected bool   `json:"connected"`
	// Since is when it connected; absent if it is not.
	Since *time.Time `json:"since,omitempty"`
	// Generation is the one it runs; SentGeneration the last that it was sent.
	Generation     uint64 `json:"generation"`
	SentGeneration uint64 `json:"sentGeneration"`
	NACK           string `json:"nack,omitempty"`
	Version        string `json:"version,omitempty"`
	// State in one word: current, pending, rejected, disconnected.
	State string `json:"state"`
	// Unready are inbounds whose application does not answer.
	Unready []string `json:"unready,omitempty"`
}

// Edges answers /edges.
type Edges struct {
	Mesh  string        `json:"mesh"`
	Edges []report.Edge `json:"edges"`
}

// Stat answers /stat: one row a service, the sum of its edges as a destination.
type Stat struct {
	Mesh     string        `json:"mesh"`
	Services []ServiceStat `json:"services"`
}

// ServiceStat is what a service was asked and how it answered.
type ServiceStat struct {
	Service      string  `json:"service"`
	Dataplanes   int     `json:"dataplanes"`
	Ready        int     `json:"ready"` // dataplanes all of whose inbounds answer
	Requests     uint64  `json:"requests"`
	Errors       uint64  `json:"errors"`
	Denied       uint64  `json:"denied"`
	SuccessRate  float64 `json:"successRate"` // 0 to 1, denied ones left out; 1 without requests
	RPS          float64 `json:"rps"`
	P50          float64 `json:"p50ms"`
	P90          float64 `json:"p90ms"`
	P99          float64 `json:"p99ms"`
	SecuredShare float64 `json:"securedShare"` // of requests over mutual TLS, 0 to 1
}

// InspectedDataplane answers /inspect/dataplanes/<name>.
type InspectedDataplane struct {
	Mesh          string                `json:"mesh"`
	Dataplane     string                `json:"dataplane"`
	Generation    uint64                `json:"generation"`
	Contributions []policy.Contribution `json:"contributions"`
	Proxy         *ir.Proxy             `json:"proxy"`
}

// InspectedPolicy answers /inspect/<policies>/<name>: where a policy is in force.
type InspectedPolicy struct {
	Mesh       string              `json:"mesh"`
	Policy     string              `json:"policy"` // kind/name
	Dataplanes []AffectedDataplane `json:"dataplanes"`
}

// AffectedDataplane is one proxy on which a policy decides something.
type AffectedDataplane struct {
	Dataplane     string                `json:"dataplane"`
	Service       string                `json:"service"`
	Contributions []policy.Contribution `json:"contributions"`
}

// Checks answers /check.
type Checks struct {
	Time   time.Time `json:"time"` // the control plane's clock
	Checks []Check   `json:"checks"`
}

// Check is one thing that was looked at. Result is ok, warn or fail.
type Check struct {
	Name    string `json:"name"`
	Mesh    string `json:"mesh,omitempty"`
	Result  string `json:"result"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// TokenRequest is the body of POST /tokens.
type TokenRequest struct {
	Type     string        `json:"type"` // dataplane or user
	Mesh     string        `json:"mesh,omitempty"`
	Name     string        `json:"name"` // of the dataplane or the user
	Service  string        `json:"service,omitempty"`
	Workload string        `json:"workload,omitempty"`
	ValidFor *api.Duration `json:"validFor,omitempty"` // default 24h
}

// IssuedToken answers POST /tokens. It is the only time that the token is told.
type IssuedToken struct {
	ID      string    `json:"id"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// IdentityRevocation is the body of POST /identity/revoke.
type IdentityRevocation struct {
	Mesh     string `json:"mesh,omitempty"`
	SpiffeID string `json:"spiffeID"`
}

// Version answers /version.
type Version struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
}
