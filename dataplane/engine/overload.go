package engine

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/hauberk-mesh/hauberk/dataplane/overload"
)

// Overload makes what watches this process for an engine. Without a spec it is the process's own limits that are watched; nil
// where it has none.
func Overload(spec *overload.Spec, log *slog.Logger) *overload.Manager {
	if spec == nil {
		own, ok := overload.Default(os.DirFS("/"), debug.SetMemoryLimit(-1))
		if !ok {
			return nil
		}
		spec = &own
	}
	return overload.New(*spec, overload.Deps{
		Shrink: debug.FreeOSMemory, SetMemoryLimit: debug.SetMemoryLimit,
		OnChange: func(a overload.Action, state float64) { log.Warn("overload", "action", a.String(), "state", state) },
	})
}
