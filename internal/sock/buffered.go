package sock

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// Filler is a Peeker that can wait for more than its first byte.
type Filler interface {
	Peeker
	// WaitBuffered blocks until n bytes can be read, no more will come (io.EOF), or the read deadline passes.
	WaitBuffered(n int) error
}

// WaitBuffered blocks until n bytes can be read from c, and consumes none and holds no buffer meanwhile. It observes the read
// deadline. If the connection ends before, it answers io.EOF; what had come can still be read then. c must not be a TLS
// connection.
//
// The runtime's poller reports edges: it does not fire again for bytes that were there already, but it does for each that
// comes after them. So a look that found too little may wait for the next edge, as long as nothing is done between the look
// and the wait; RawConn.Read is made so. The end of a stream is no byte: it is asked for by itself. The kernel holds what
// nobody reads up to its buffer: some 64 KiB on TCP; on a Unix socket 277 writes, however short.
func WaitBuffered(c net.Conn, n int) error {
	if m, ok := c.(Filler); ok {
		return m.WaitBuffered(n)
	}
	raw, err := rawConn(c)
	if err != nil {
		return err
	}
	var result error
	err = raw.Read(func(fd uintptr) bool {
		// Asked in this order: what comes between the two questions is bytes before an end.
		ended := hungUp(fd)
		have, errno := waiting(fd)
		switch {
		case errno != 0:
			result = errno
		case have >= n:
			result = nil
		case ended:
			result = io.EOF
		default:
			return false
		}
		return true
	})
	if err != nil {
		return err
	}
	return result
}

// PeekNow copies what can be read from c to p, consuming nothing, and does not wait: 0 is nothing, an end or an error.
func PeekNow(c net.Conn, p []byte) int {
	n, err := peekNow(c, p)
	if err != nil {
		return 0
	}
	return n
}

// waiting is how many bytes can be read: ioctl(2) SIOCINQ, which counts the whole stream on TCP and Unix sockets alike.
// Counting is cheap however many there are; copying them for each one that comes would be quadratic.
func waiting(fd uintptr) (int, syscall.Errno) {
	var n int32
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return int(n), errno
}

// hungUp tells whether the peer has ended its sending side, whatever is unread before that.
func hungUp(fd uintptr) bool {
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollRdHup}
	var now syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return errno == 0 && n == 1 && p.revents&(pollErr|pollHup|pollRdHup) != 0
}
