// Package identity is how the control plane knows who calls, and how workloads get to be somebody: tokens that buy one
// identity each, the service that turns a signing request into an SVID, the interceptors that put the verified Peer into
// each call's context and end streams when it is revoked, and the control plane's own anchor for its ports.
//
// What it is not: it signs nothing of a mesh (package ca does), it sends no configuration, it decides nothing about
// permission. Private keys of workloads never come here.
//
// Start at Service.Join, then Gate and Tokens.
package identity

import "github.com/hauberk-mesh/hauberk/controlplane/identity/ca"

// Resources is what this package needs of store.Resources.
type Resources = ca.Resources
