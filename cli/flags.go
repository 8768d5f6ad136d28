package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// verbFirst moves flags that stand before the verb behind it, so that flags may stand anywhere. Cobra would take the verb
// behind a flag that only the verb knows for the flag's value.
func verbFirst(root *cobra.Command, args []string) []string {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return args
		case !strings.HasPrefix(a, "-"):
			return slices.Concat(args[i:i+1], args[:i], args[i+1:])
		case !strings.Contains(a, "=") && takesValue(root, a):
			i++
		}
	}
	return args
}

// takesValue tells whether the next word is a flag's value, in whichever verb has the flag. An unknown flag takes none.
func takesValue(c *cobra.Command, word string) bool {
	flag := c.Flags().Lookup(strings.TrimLeft(word, "-"))
	if !strings.HasPrefix(word, "--") {
		if len(word) != 2 {
			return false // -ojson has its value with it
		}
		flag = c.Flags().ShorthandLookup(word[1:])
	}
	if flag != nil {
		return flag.NoOptDefVal == ""
	}
	return slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return takesValue(sub, word) })
}
