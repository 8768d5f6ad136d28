//go:build !linux || !(amd64 || arm64 || riscv64)

package batch

import "fmt"

func mapSecret(int) (mem []byte, free func(), err error) {
	return nil, nil, fmt.Errorf("%w: only Linux has it, on 64-bit processors of some kinds", errNoSecretMemory)
}
