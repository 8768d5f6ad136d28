package why

import (
	"slices"

	"github.com/hauberk-mesh/hauberk/controlplane/report"
)

// Query is the question. Source and Destination name a service or a dataplane.
type Query struct {
	Source, Destination string
	Port                uint32 // of the destination; 0 is those that the source has an outbound for, else all
	Method              string // default GET, POST on gRPC
	Path                string // default /, on HTTP
}

// Answer is what the mesh would do, and what it did.
type Answer struct {
	Mesh        string `json:"mesh"`
	Source      Party  `json:"source"`
	Destination Party  `json:"destination"`
	Method      string `json:"method,omitempty"`
	Path        string `json:"path,omitempty"`
	// Verdict is what permissions decide: allow, deny, mixed (it depends on the dataplane; see Decisions), or none where
	// there is nothing to decide on.
	Verdict string `json:"verdict"`
	// Policy and Rule decided; of the first decision that is of the verdict's kind.
	Policy string `json:"policy,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Identity is the SPIFFE ID that the verdict is about.
	Identity string `json:"identity,omitempty"`
	// Obstacles are other reasons for which such a call does not arrive, or arrives otherwise than one may think.
	Obstacles []Obstacle `json:"obstacles,omitempty"`
	Decisions []Judged   `json:"decisions"`
	// Observed is what both proxies recorded of real calls, newest first.
	Observed []report.Decision `json:"observed"`
}

// Party is one side of the call.
type Party struct {
	Name       string   `json:"name"` // as asked for
	Service    string   `json:"service,omitempty"`
	Dataplanes []string `json:"dataplanes"`
	SPIFFEIDs  []string `json:"spiffeIDs"`
}

// Obstacle is a reason with its remedy.
type Obstacle struct {
	Code    string `json:"code"` // stable: no_such_service, no_outbound, no_ready_endpoint, not_connected ...
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Judged is the verdict of one inbound on one identity.
type Judged struct {
	Identity  string `json:"identity"`
	Dataplane string `json:"dataplane"` // of the destination
	Inbound   string `json:"inbound"`
	Port      uint32 `json:"port"`
	Protocol  string `json:"protocol"`
	TLSMode   string `json:"tlsMode"`
	Verdict   string `json:"verdict"` // allow or deny
	Policy    string `json:"policy"`
	Rule      string `json:"rule"`
	// ShadowRule would deny, if it were no shadow.
	ShadowRule string `json:"shadowRule,omitempty"`
}

// Verdicts of Answer and Judged.
const (
	Allow = "allow"
	Deny  = "deny"
	Mixed = "mixed"
	None  = "none"
)

// conclude sums the decisions up.
func (ans *Answer) conclude() {
	count := map[string]int{}
	for _, j := range ans.Decisions {
		count[j.Verdict]++
	}
	switch {
	case len(ans.Decisions) == 0:
		return
	case count[Deny] == 0:
		ans.Verdict = Allow
	case count[Allow] == 0:
		ans.Verdict = Deny
	default:
		ans.Verdict = Mixed
	}
	for _, j := range ans.Decisions {
		// Of a mixed verdict the denial is what somebody asks about.
		if j.Verdict == ans.Verdict || ans.Verdict == Mixed && j.Verdict == Deny {
			ans.Policy, ans.Rule, ans.Identity = j.Policy, j.Rule, j.Identity
			return
		}
	}
}

// add notes an obstacle once.
func (ans *Answer) add(code, message, fix string) {
	o := Obstacle{Code: code, Message: message, Fix: fix}
	if !slices.Contains(ans.Obstacles, o) {
		ans.Obstacles = append(ans.Obstacles, o)
	}
}

func (ans *Answer) has(code string) bool {
	return slices.ContainsFunc(ans.Obstacles, func(o Obstacle) bool { return o.Code == code })
}
