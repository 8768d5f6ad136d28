// Package cli is the command line: one file a verb, and the little that verbs share.
//
// It is the only package that knows both halves of the program. control-plane run and dataplane run wire one of them up
// (controlplane.go, dataplane.go); every other verb is a client of the control plane's API (connect.go). What verbs print
// and with which code they end is in output.go and exit.go. Start at Main.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// buildVersion is set by the linker (see Makefile).
var buildVersion = "dev"

// program is one run of the command line: its streams and what its verbs have in common.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// started is set when a verb begins its work; an error before that is a mistake of usage.
	started bool
}

// Main runs the command line and returns the exit code: 0 done, 1 refused or failed, 2 usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first signal asks to stop and gives time to drain. Then the default is back, so that the second one ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv}
	root := p.root()
	root.SetArgs(verbFirst(root, args))
	cmd, err := root.ExecuteContextC(ctx)
	return p.exitCode(cmd.CommandPath(), err)
}

// root is the table of contents.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "hauberk",
		Short: "A service mesh in one binary",
		Long: "Hauberk is a service mesh: a control plane, a data plane and this command line in one binary.\n" +
			"Client verbs find the control plane and their credential in --data-dir.",
		Example:       "  hauberk demo\n  hauberk control-plane run --data-dir ./mesh\n  hauberk status --data-dir ./mesh",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknown(cmd, args[0])
		},
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run the mesh:"},
		&cobra.Group{ID: groupIntent, Title: "Say what the mesh should do:"},
		&cobra.Group{ID: groupSee, Title: "See what it does:"},
	)
	for group, verbs := range map[string][]*cobra.Command{
		groupRun:    {p.controlPlane(), p.dataplane(), p.proxy(), p.token(), p.identity(), p.demo()},
		groupIntent: {p.apply(), p.get(), p.describe(), p.delete()},
		groupSee:    {p.status(), p.edges(), p.stat(), p.why(), p.inspect(), p.check(), p.bench()},
		"":          {p.version(), p.completion()},
	} {
		for _, v := range verbs {
			v.GroupID = group
			root.AddCommand(v)
		}
	}
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	return root
}

const (
	groupRun    = "run"
	groupIntent = "intent"
	groupSee    = "see"
)

// verb completes a command whose work is do.
func (p *program) verb(cmd *cobra.Command, do func(ctx context.Context, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.started = true
		return do(cmd.Context(), args)
	}
	return cmd
}

// group is a command that only holds others, as token does.
func (p *program) group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(verbs...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs one of: %s", cmd.CommandPath(), names(verbs))
		}
		return unknown(cmd, args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// unknown names the verb that was probably meant.
func unknown(cmd *cobra.Command, word string) error {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return usagef("unknown command %q for %q: did you mean %s?", word, cmd.CommandPath(), near[0])
	}
	has := names(cmd.Commands())
	if has == "" {
		has = "none"
	}
	return usagef("unknown command %q for %q: it has %s", word, cmd.CommandPath(), has)
}

func names(verbs []*cobra.Command) string {
	var all []string
	for _, v := range verbs {
		if !v.Hidden {
			all = append(all, v.Name())
		}
	}
	return strings.Join(all, ", ")
}
