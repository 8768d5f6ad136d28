package controlplane

import (
	"bytes"
	"encoding/json"
	"os"
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
	b, file := append(b, '\n'), filepath.Join(dir, AddressesFile)
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, b) {
		return nil // on a full disk a control plane can still be started again
	}
	return atomicfile.Write(file, b, 0o600)
}
