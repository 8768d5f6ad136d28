package undumpable

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Set closes this process for the rest of its life. On an error as much is closed as could be.
func Set() error {
	var errs []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err))
	}
	// The kernel writes no core of such a process already. This is for programs that it starts, and survives exec(2).
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("setrlimit(RLIMIT_CORE): %w", err))
	}
	return errors.Join(errs...)
}
