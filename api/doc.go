// Package api is the vocabulary that users, the control plane and the policies share: resources, their keys and labels,
// target references, durations, and the strict reading of YAML.
//
// What it is not: it knows nothing of stores, of xDS or of the proxy. The kinds themselves live beside what they describe:
// package resource has those that are no policy, policy/<name> has one each, and policy/all lists them.
//
// Start at Resource, then Kind and Registry.Decode.
package api
