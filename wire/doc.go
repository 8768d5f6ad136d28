// Package wire holds the messages of Hauberk's own that cross the network, where Envoy's protobufs have none: identity/v1
// (CSR to SVID), report/v1 (what proxies tell), trust/v1 (revocations as an xDS resource) and proxy/v1 (settings of a proxy as a
// whole, another one). privatekey/v3alpha are two messages of Envoy's that no published Go module holds in our version. Both
// halves of the program import them; the *.pb.go files are generated from the .proto files beside them.
package wire

//go:generate go run ./gen
