package ir

// Permission is who may call an inbound: a request passes if no Deny entry matches and some Allow entry does.
type Permission struct {
	Deny   []PermissionEntry `json:"deny,omitempty"`
	Allow  []PermissionEntry `json:"allow,omitempty"`
	Shadow []PermissionEntry `json:"allowWithShadowDeny,omitempty"` // also in Allow; a match is recorded as what would be denied
}

// PermissionEntry matches if all that it lists holds. An entry that lists nothing matches everybody.
type PermissionEntry struct {
	// Rule is the policy map's key on the wire: "<kind>/<name>#rules[i].<list>[j]". It is what logs and why name.
	Rule string `json:"rule"`
	// SPIFFEID of the caller; nil matches anonymous callers too.
	SPIFFEID *StringMatch `json:"spiffeID,omitempty"`
	Methods  []string     `json:"methods,omitempty"`
	Paths    []PathMatch  `json:"paths,omitempty"`
}

// StringMatch compares a whole string or its beginning.
type StringMatch struct {
	Type  MatchType `json:"type"`
	Value string    `json:"value"`
}

// PathMatch compares the normalised path. Prefix is by segment: /admin takes /admin and /admin/x, not /administrator.
// Template matches segment by segment: {name} one segment, * one segment, ** the rest.
type PathMatch struct {
	Type  MatchType `json:"type"`
	Value string    `json:"value"`
}

// MatchType is how a value is compared.
type MatchType string

// The ways to compare.
const (
	Exact    MatchType = "Exact"
	Prefix   MatchType = "Prefix"
	Template MatchType = "Template"
)
