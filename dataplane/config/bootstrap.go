package config

import (
	"errors"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/proto"
)

// CheckBootstrap holds a bootstrap to the table, all but its static resources: Build does that with each of them. The notes
// are the fields that have no effect.
func CheckBootstrap(b *bootstrapv3.Bootstrap) ([]Note, error) {
	around := proto.Clone(b).(*bootstrapv3.Bootstrap)
	around.StaticResources = nil
	r := &reader{table: table(), resource: "bootstrap"}
	err := r.check(around.ProtoReflect(), "", "")
	return r.notes, err
}

// AdminAddress is host:port of the admin port that a bootstrap asks for; empty: none.
func AdminAddress(m *bootstrapv3.Admin) (string, error) {
	if m.GetAddress() == nil {
		return "", nil
	}
	if m.GetAddress().GetSocketAddress() == nil {
		return "", errors.New("admin.address: only socket_address is honoured")
	}
	addr, err := socketAddress(m.GetAddress().GetSocketAddress(), "admin.address.socket_address")
	return addr.String(), err
}
