// Package rest is the control plane's API on port 5681: resources (read, apply, delete), what the mesh does right now
// (status, edges, stat, why, inspect, check) and credentials (tokens, revocations).
//
// It is a thin face. It decides who may ask and turns words into calls; what is stored, resolved or recorded is decided by
// the packages behind its small interfaces (depends.go), which package controlplane plugs in. Everything needs the token
// of a user; secrets have no way out through it.
//
// Start at Handler, then apply.go. The JSON of requests and answers is in answers.go; package client speaks it.
package rest
