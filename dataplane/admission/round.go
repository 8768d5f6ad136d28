package admission

import (
	"os"
	"syscall"
	"unsafe"
)

// round goes once through Go's network poller. It wakes itself by an eventfd(2): in the same answer of epoll_wait in which that
// is, all connections are that have something to read by then.
type round struct {
	file *os.File // closed by the garbage collector
	raw  syscall.RawConn
}

func newRound() (*round, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("eventfd2", errno)
	}
	file := os.NewFile(fd, "eventfd")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &round{file, raw}, nil
}

// wait returns after a round, or at once if there can't be any. One goroutine at a time.
func (r *round) wait() {
	var rung bool
	n := uint64(1)
	// The poller reports edges, and forgets those from before this call; so it is rung within. To find it rung already would be
	// no round.
	_ = r.raw.Read(func(fd uintptr) bool {
		if !rung {
			rung = true
			_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n))
			return errno != 0
		}
		_, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n))
		return errno != syscall.EAGAIN
	})
}
