package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
)

// keyProviderFlag is on every command that runs a proxy.
func keyProviderFlag(cmd *cobra.Command) *string {
	name := cmd.Flags().String("key-provider", batch.Name, "where private keys are kept: "+batch.Name+" (outside of the heap, operations "+
		"side by side where the CPU can) or "+memory.Name+" (the heap, Go's own code)")
	words := []string{batch.Name, memory.Name}
	_ = cmd.RegisterFlagCompletionFunc("key-provider", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	return name
}

// keyProviders are those of one process: the one that it begins with, and what else it has. There is one queue for all keys of a
// process, so that there is one of each. The caller closes them when the proxy has ended.
type keyProviders struct {
	first keyprovider.Provider
	more  []keyprovider.Provider
	batch *batch.Provider
}

// checkKeyProvider refuses a name that is none.
func checkKeyProvider(name string) error {
	switch name {
	case batch.Name, memory.Name:
		return nil
	case "pkcs11", "guardian":
		return usagef("--key-provider %s is not in this version: write %s or %s", name, batch.Name, memory.Name)
	}
	return usagef("--key-provider %q: write %s or %s", name, batch.Name, memory.Name)
}

// newKeyProviders logs what the first one can do here, and why.
func newKeyProviders(name string, log *slog.Logger) *keyProviders {
	if name == batch.Name {
		b := batch.New(batch.Options{Logger: log}) // which logs it
		return &keyProviders{first: b, more: []keyprovider.Provider{memory.New()}, batch: b}
	}
	m := memory.New()
	s := keyring.StatusOf(m)
	log.Info("key provider", "provider", s.Provider, "backend", s.Backend, "reason", s.Reason)
	b := batch.New(batch.Options{Logger: log.With("use", "where it is asked for")})
	return &keyProviders{first: m, more: []keyprovider.Provider{b}, batch: b}
}

// checkKeysHere says what a proxy on this machine would do.
func checkKeysHere() rest.Check {
	provider := batch.New(batch.Options{})
	defer provider.Close()
	s := keyring.StatusOf(provider)
	message := fmt.Sprintf("a proxy on this machine would use %s (%s: %s)", s.Provider, s.Backend, s.Detail)
	return rest.Check{Name: "keys here", Result: rest.OK, Message: message}
}
