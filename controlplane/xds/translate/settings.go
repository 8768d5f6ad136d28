package translate

import (
	"fmt"

	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	proxyv1 "github.com/hauberk-mesh/hauberk/wire/proxy/v1"
)

// settingsName is the one resource of its type.
const settingsName = "settings"

// addSettings sends what is said of the proxy as a whole, if anything is: without it a proxy does what it was started with.
func addSettings(s Snapshot, p *ir.Proxy, cache *Cache) error {
	switch p.KeyProvider {
	case "":
		return nil
	case ir.KeysBatched, ir.KeysInMemory:
		return add(s, settingsName, &proxyv1.Settings{KeyProvider: string(p.KeyProvider)}, cache)
	default:
		return fmt.Errorf("key provider %q is neither batch nor memory", p.KeyProvider)
	}
}
