// Package interop tests the proxy with things that this project did not write: clients, servers, test suites, and other
// proxies. What goes through both hops of a mesh is in the files that use newChain.
package interop

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) {
	if asGRPCCase() {
		return
	}
	asHauberk()
	leak.Main(m)
}
