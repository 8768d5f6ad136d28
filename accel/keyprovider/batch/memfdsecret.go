//go:build linux && (amd64 || arm64 || riscv64)

package batch

import (
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// mapSecret maps memory that is in no other mapping, not even the kernel's own of all memory: neither root by ptrace(2) or
// /proc/<pid>/mem, nor process_vm_readv(2), nor a core dump, nor the swap device sees it (memfd_secret(2), Linux 5.14). It
// counts against RLIMIT_MEMLOCK.
func mapSecret(size int) (mem []byte, free func(), err error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	defer func() { _ = unix.Close(fd) }() // the mapping stays
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, nil, unavailable(err)
	}
	mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	free = func() { _ = unix.Munmap(mem) }
	if err := errors.Join(touch(mem), unix.Madvise(mem, unix.MADV_DONTFORK)); err != nil {
		free()
		return nil, nil, unavailable(err)
	}
	return mem, free, nil
}

// touch makes the kernel find the pages now. One that it can't find is SIGBUS, which is an error here and would end the
// process later. MADV_POPULATE_WRITE doesn't do that for this kind of memory.
func touch(mem []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = unix.ENOMEM
		}
	}()
	for i := 0; i < len(mem); i += unix.Getpagesize() {
		mem[i] = 0
	}
	return nil
}

func unavailable(err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: the kernel is older than 5.14, or has it switched off (secretmem.enable)", errNoSecretMemory)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: RLIMIT_MEMLOCK is used up: raise it (systemd: LimitMEMLOCK)", errNoSecretMemory)
	}
	return fmt.Errorf("%w: %w", errNoSecretMemory, err)
}
