package config

import (
	"errors"
	"fmt"

	proxyv1 "github.com/hauberk-mesh/hauberk/wire/proxy/v1"
)

// settingsName is the one resource of its type.
const settingsName = "settings"

// settings reads what a mesh says of the proxy as a whole. It is small, and read anew each time.
func (w *build) settings() error {
	m := &proxyv1.Settings{}
	if len(w.in[TypeSettings]) > 0 && w.deps.StandAlone {
		return errors.New("settings are not honoured outside a mesh: they are flags of the program")
	}
	for _, name := range sorted(w.in[TypeSettings]) {
		if name != settingsName {
			return fmt.Errorf("settings %q: is not honoured, only %q", name, settingsName)
		}
		if err := w.reader("settings", name).any(w.in[TypeSettings][name], "", m); err != nil {
			return fmt.Errorf("settings %q: %w", name, err)
		}
	}
	keys, err := w.keys.Find(m.GetKeyProvider())
	if err != nil {
		return fmt.Errorf("settings %q: key_provider: %w", settingsName, err)
	}
	w.g.Keys = keys
	return nil
}
