package cli

import (
	"errors"
	"fmt"
	"strings"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2
)

// usageError is a command line that cannot be understood.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errSilent ends with exitFailed when everything has been said already, as by a table with a failed check in it.
var errSilent = errors.New("failed")

// exitCode says what is wrong with a verb, on stderr, and returns the exit code. It is the one place where an error is printed.
func (p *program) exitCode(verb string, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage) || !p.started:
		fmt.Fprintf(p.stderr, "error: %s\n%s --help shows how it is used\n", strings.TrimSpace(err.Error()), verb)
		return exitUsage
	default:
		fmt.Fprintf(p.stderr, "error: %s\n", err)
		return exitFailed
	}
}
