package sock

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Borrower reads one connection into buffers that it borrows only when there is something to read: an idle connection
// holds none, and waiting costs no system call of its own as a look at the socket (Waiter) does. The first attempt reads
// at once; only if nothing is there it gives the buffer back and waits. It is not safe for concurrent use.
type Borrower struct {
	conn net.Conn
	mem  Peeker
	raw  syscall.RawConn
	get  func() []byte
	put  func([]byte)
	take func(fd uintptr) bool // made once: a closure for each read would be an allocation for each

	buf   []byte
	n     int
	errno syscall.Errno
}

// NewBorrower makes the Borrower of c, for its lifetime. get lends a buffer, put takes one back that stayed empty.
func NewBorrower(c net.Conn, get func() []byte, put func([]byte)) *Borrower {
	b := &Borrower{conn: c, get: get, put: put}
	if b.mem, _ = c.(Peeker); b.mem != nil {
		return b
	}
	if b.raw, _ = rawConn(c); b.raw != nil {
		b.take = b.once
	}
	return b
}

// Read waits for bytes and returns them in a borrowed buffer, which is the caller's to give back. It returns no buffer with
// an error. It observes the read deadline. A connection that can't be waited on holds a buffer while it waits.
func (b *Borrower) Read() (buf []byte, n int, err error) {
	if b.raw == nil {
		return b.plain()
	}
	err = b.raw.Read(b.take)
	buf, b.buf = b.buf, nil
	switch {
	case err != nil: // a deadline or our own Close: it was found before or while waiting, without a buffer
		return nil, 0, err
	case b.errno != 0:
		err = &net.OpError{Op: "read", Net: b.conn.LocalAddr().Network(), Source: b.conn.LocalAddr(), Addr: b.conn.RemoteAddr(),
			Err: os.NewSyscallError("read", b.errno)}
	case b.n == 0:
		err = io.EOF
	default:
		return buf, b.n, nil
	}
	b.put(buf)
	return nil, 0, err
}

// once is one attempt; false means that there is nothing yet.
func (b *Borrower) once(fd uintptr) bool {
	b.buf = b.get()
	if b.n, b.errno = readNow(fd, b.buf); b.errno == syscall.EAGAIN {
		b.put(b.buf)
		b.buf = nil
		return false
	}
	return true
}

func (b *Borrower) plain() ([]byte, int, error) {
	if b.mem != nil {
		if err := b.mem.WaitReadable(); err != nil {
			return nil, 0, err
		}
	}
	buf := b.get()
	n, err := b.conn.Read(buf)
	if n > 0 {
		return buf, n, nil // an error comes again
	}
	b.put(buf)
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, 0, err
}

// readNow is read(2) on a socket that does not block, as Go's all are: the scheduler need not know (see recvPeek).
func readNow(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case syscall.EINTR:
			continue
		case 0:
			return int(n), 0
		}
		return 0, errno
	}
}
