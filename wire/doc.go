// Package wire holds the messages of Hauberk's own that cross the network, where Envoy's protobufs have none: identity/v1
// (CSR to SVID), report/v1 (what proxies tell) and trust/v1 (revocations as an xDS resource). Both halves of the program
// import them; the *.pb.go files are generated from the .proto files beside them.
package wire

//go:generate go run ./gen
