//go:build !linux

package undumpable

import "errors"

// Set is an error: only Linux has it.
func Set() error { return errors.New("only Linux can do that") }
