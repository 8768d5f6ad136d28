// Package demo is the shop that "hauberk demo" runs: a control plane, five services of real HTTP with a sidecar each, a
// shopper, and a summary of what the mesh saw. Every part is a process of its own, the same binary executing itself.
//
// It uses Hauberk as a user does, by its command line and its API, and imports nothing of it. It is Linux only, since it
// relies on the kernel to end the children with their parent.
//
// Start at Run; Serve is one service.
package demo
