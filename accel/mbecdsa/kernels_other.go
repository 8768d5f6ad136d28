//go:build !amd64

package mbecdsa

import (
	"errors"
	"runtime"
)

func missing() error {
	return errors.New("mbecdsa: the kernels are for amd64 with AVX-512 IFMA, not for " + runtime.GOARCH)
}

var assembly = portable
