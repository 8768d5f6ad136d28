package cli

import (
	"log/slog"

	"github.com/hauberk-mesh/hauberk/internal/footprint"
	"github.com/hauberk-mesh/hauberk/internal/procs"
)

// frugal has this process use as many threads as its load asks for, collect garbage when there is some, and give back what memory
// it does not need, from the first pause on. It is for verbs that run a proxy, and concerns the whole process: stop takes it back.
func frugal(log *slog.Logger) (stop func()) {
	k := &footprint.Keeper{}
	threads := procs.Adapt(func() {
		if err := k.Pause(); err != nil {
			log.Warn("memory that the start needed can not be given back", "reason", err)
		}
	})
	room := footprint.Room()
	return func() { room(); threads() }
}
