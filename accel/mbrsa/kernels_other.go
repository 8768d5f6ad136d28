//go:build !amd64

package mbrsa

import (
	"errors"
	"runtime"
)

// Supported says why the kernels in assembly don't run here.
func Supported() error {
	return errors.New("mbrsa: the kernels are for amd64 with AVX-512 IFMA, and this is " + runtime.GOARCH)
}

func assembly(int, bool) kernels { return portable() }
