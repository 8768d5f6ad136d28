package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (p *program) completion() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "completion bash|zsh|fish|powershell",
		Short:                 "Print the completion script of a shell",
		Example:               "  source <(hauberk completion bash)",
		DisableFlagsInUseLine: true,
		Args:                  args(1, 1, "the name of a shell: bash, zsh, fish or powershell"),
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
	}
	return p.verb(cmd, func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(p.stdout, true)
		case "zsh":
			return root.GenZshCompletion(p.stdout)
		case "fish":
			return root.GenFishCompletion(p.stdout, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(p.stdout)
		default:
			return usagef("there is no completion for %s: write bash, zsh, fish or powershell", args[0])
		}
	})
}
