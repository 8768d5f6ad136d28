package bolt

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denySync makes fsync and fdatasync of this process fail with EIO from now on, as a dying disk does. A seccomp filter does
// it beneath bbolt, so that nothing of what is tested knows of the test.
func denySync() error {
	return install(
		load32(0), // seccomp_data.nr
		jumpIf(unix.SYS_FDATASYNC, 1),
		jumpIfNot(unix.SYS_FSYNC, 1),
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EIO)),
		answer(unix.SECCOMP_RET_ALLOW),
	)
}

// denyRootWrites makes pwrite to the first two pages of any file fail with EIO.
func denyRootWrites() error {
	return install(
		load32(0),
		jumpIfNot(unix.SYS_PWRITE64, 3),
		load32(16+3*8), // the low half of the fourth argument, the offset
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: 1, K: uint32(2 * os.Getpagesize())},
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EIO)),
		answer(unix.SECCOMP_RET_ALLOW),
	)
}

func load32(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jumpIf skips instructions where the value is equal, jumpIfNot where it is not.
func jumpIf(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: skip, K: value}
}

func jumpIfNot(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: value}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// install puts the filter on all threads. Without root this needs "no new privileges", which a test child can do without.
func install(program ...unix.SockFilter) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
