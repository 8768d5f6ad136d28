package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

// registry has every kind that this build knows.
func registry() *api.Registry {
	return api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
}

// kindOf finds the kind of a word of the command line: a plural, a short form, or the kind's own name in any case.
func kindOf(word string) (api.Kind, error) {
	kinds := registry()
	lower := strings.ToLower(word)
	if k, ok := kinds.Plural(lower); ok {
		return k, nil
	}
	var words []string
	for _, k := range kinds.Kinds() {
		if strings.EqualFold(k.Name, word) {
			return k, nil
		}
		words = append(words, k.Plural)
	}
	if near := rest.Nearest(lower, words); near != "" {
		return api.Kind{}, usagef("there are no %s: did you mean %s?", word, near)
	}
	return api.Kind{}, usagef("there are no %s: KINDS is one of %s", word, strings.Join(words, ", "))
}

// completeKinds offers the plurals for the first argument.
func completeKinds(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, k := range registry().Kinds() {
		words = append(words, k.Plural)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// args wants between least and most arguments, and says which when there are others.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least || len(given) > most {
			return usagef("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}
