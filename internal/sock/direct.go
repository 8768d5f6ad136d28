package sock

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Direct returns c with a cheaper Read and Write if it is a TCP socket, else c itself.
//
// The runtime announces each system call of package net to its scheduler, which pays off where a call may block. Those on a
// non-blocking socket do not; but a write to loopback does the receiver's work as well and takes tens of microseconds, after
// which the scheduler's monitor takes the processor away, wakes a thread for it, and goes on polling fast: a tenth of a
// busy proxy's CPU. So these calls are made without announcement, as the runtime makes its own.
func Direct(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	d := &direct{TCPConn: t, raw: raw}
	d.in.call, d.out.call = d.in.read, d.out.write
	return d
}

// direct is a TCP connection. A Read and a Write may be concurrent, but not two Reads or two Writes: each of our users has one
// goroutine, or a lock, for each direction.
type direct struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is one direction's present call. Its function is made once, so that a call allocates nothing.
type transfer struct {
	call  func(fd uintptr) bool
	p     []byte
	n     int
	errno syscall.Errno
}

// Read is net.Conn's.
func (d *direct) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &d.in
	t.p, t.n, t.errno = p, 0, 0
	err := d.raw.Read(t.call)
	n, errno := t.n, t.errno
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, d.failed("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write is net.Conn's.
func (d *direct) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &d.out
	t.p, t.n, t.errno = p, 0, 0
	err := d.raw.Write(t.call)
	n, errno := t.n, t.errno
	t.p = nil
	if err == nil && errno != 0 {
		err = d.failed("write", errno)
	}
	return n, err
}

func (t *transfer) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&t.p[0])), uintptr(len(t.p)))
		switch errno {
		case 0:
			t.n = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
}

// maxWrite keeps one call short: it can not be preempted.
const maxWrite = 256 << 10

func (t *transfer) write(fd uintptr) bool {
	for t.n < len(t.p) {
		p := t.p[t.n:min(len(t.p), t.n+maxWrite)]
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			t.n += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}

func (d *direct) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: d.LocalAddr(), Addr: d.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// WriteAll writes all pieces, in one system call where c is a connection that Direct has made, and the kernel takes them.
func WriteAll(c net.Conn, pieces [][]byte) error {
	d, ok := c.(*direct)
	if !ok || len(pieces) == 1 {
		for _, p := range pieces {
			if _, err := c.Write(p); err != nil {
				return err
			}
		}
		return nil
	}
	v := vector{rest: pieces}
	if err := d.raw.Write(v.write); err != nil {
		return err
	}
	if v.errno != 0 {
		return d.failed("write", v.errno)
	}
	return nil
}

// vector is what is left to be written.
type vector struct {
	rest  [][]byte
	done  int // bytes of the first piece that are gone
	errno syscall.Errno
}

// mostPieces is how many one call takes: enough for maxWrite in pieces of a TLS record.
const mostPieces = 16

func (v *vector) write(fd uintptr) bool {
	for len(v.rest) > 0 {
		var list [mostPieces]syscall.Iovec
		n := 0
		for i, p := range v.rest[:min(len(v.rest), mostPieces)] {
			if i == 0 {
				p = p[v.done:]
			}
			if len(p) > 0 {
				list[n].Base = &p[0]
				list[n].SetLen(len(p))
				n++
			}
		}
		wrote, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&list[0])), uintptr(n))
		switch errno {
		case 0:
			v.advance(int(wrote))
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			v.errno = errno
			return true
		}
	}
	return true
}

func (v *vector) advance(n int) {
	v.done += n
	for len(v.rest) > 0 && v.done >= len(v.rest[0]) {
		v.done -= len(v.rest[0])
		v.rest = v.rest[1:]
	}
}
