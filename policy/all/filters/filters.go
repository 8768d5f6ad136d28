// Package filters is the one list of filter factories that the proxy is built with. Which of them are in a chain, and in
// which order, is the configuration's to say; this list has no order.
package filters

import (
	"slices"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/filter/healthcheck"
	permission "github.com/hauberk-mesh/hauberk/policy/permission/filter"
)

// Factories are all filters that this build knows.
func Factories() []filter.Factory {
	return slices.Concat(
		permission.Factories(),
		[]filter.Factory{healthcheck.Factory()},
	)
}
