package controlplane

import (
	"encoding/json"
	"path/filepath"

	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

// Where a control plane listens unless told otherwise.
const (
	DefaultAPIAddr = "127.0.0.1:5681"
	DefaultXDSAddr = "127.0.0.1:5678"
)

// Files of the data dir that clients on the same machine read.
const (
	AnchorFile     = "ca.crt"         // the control plane's own authority, PEM
	AdminTokenFile = "admin.token"    // the operator's credential
	AddressesFile  = "addresses.json" // Addresses
)

// Addresses are where a control plane really listens, each host:port.
type Addresses struct {
	API string `json:"api"`
	XDS string `json:"xds"`
}

// write leaves the addresses for clients that are given the data dir alone. They are still there after the control plane
// is gone: a client then says that nobody listens there.
func (a Addresses) write(dir string) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, AddressesFile), append(b, '\n'), 0o600)
}
