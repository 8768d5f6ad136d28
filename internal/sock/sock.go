// Package sock does to connections what net.Conn has no words for: look at the next bytes without taking them, ask whether
// an idle connection is still alive, wait for bytes without holding a buffer, half-close, and reset.
//
// It works through tls.Conn on the socket below, on layers above a socket that say what they hold back (Layer), and on
// in-memory connections that offer the same by methods (Peeker). It is not a portability layer: sockets are Linux ones.
package sock

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Peeker is what an in-memory connection implements to take part.
type Peeker interface {
	// PeekNow copies readable bytes to p and consumes none. It never blocks: nothing to read is syscall.EAGAIN, a peer that
	// has closed is 0, nil.
	PeekNow(p []byte) (int, error)
	// WaitReadable blocks until a Read would not, or the read deadline passes.
	WaitReadable() error
	// PeerClosed tells whether the peer has ended its sending side or reset the connection, read or not.
	PeerClosed() bool
}

// Awaiter is a connection that knows how to wait by itself: an in-memory one, or a stream of HTTP/2.
type Awaiter interface {
	// WaitReadable blocks until a Read would not, or the read deadline passes.
	WaitReadable() error
}

// Layer is a connection above another one that may hold bytes which it has read there and not yet handed out.
type Layer interface {
	NetConn() net.Conn
	// WaitReadable blocks until a Read is likely not to, or the read deadline passes; ErrNotSupported before it can tell.
	WaitReadable() error
	// Held tells whether bytes were taken from the connection below and not yet read.
	Held() bool
}

// ErrNotSupported says that a connection is neither a socket nor a Peeker, or that bytes may wait above the socket (TLS).
var ErrNotSupported = errors.New("sock: connection can not be looked into")

// below returns the transport below TLS, or c itself.
func below(c net.Conn) net.Conn {
	for {
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = t.NetConn()
	}
}

// layer returns the Layer that c is or that lies below it, or nil.
func layer(c net.Conn) Layer {
	for {
		if l, ok := c.(Layer); ok {
			return l
		}
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = t.NetConn()
	}
}

// isTLS tells whether c is, or lies above, a TLS connection that says nothing about what it holds back.
func isTLS(c net.Conn) bool {
	for {
		if _, ok := c.(*tls.Conn); ok {
			return true
		}
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		c = t.NetConn()
	}
}

// Peek waits until at least one byte, the end or an error can be read from c and copies what is there to p, consuming
// nothing. It observes the read deadline. The end is 0, io.EOF. c must not be a TLS connection.
func Peek(c net.Conn, p []byte) (int, error) {
	if m, ok := c.(Peeker); ok {
		if err := m.WaitReadable(); err != nil {
			return 0, err
		}
		n, err := m.PeekNow(p)
		if n == 0 && err == nil {
			err = io.EOF
		}
		return n, err
	}
	raw, err := rawConn(c)
	if err != nil {
		return 0, err
	}
	var n int
	var errno syscall.Errno
	err = raw.Read(func(fd uintptr) bool {
		n, errno = recvPeek(fd, p)
		return errno != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Alive tells whether an idle connection may carry another message: nothing to read is the only healthy state. An end, an
// error, and bytes that nobody asked for all mean that it must not be used. It looks at the socket below TLS: what the
// peer sends on an idle TLS connection is an alert.
func Alive(c net.Conn) bool {
	if l := layer(c); l != nil && l.Held() {
		return false
	}
	var b [1]byte
	_, err := peekNow(below(c), b[:])
	return err == syscall.EAGAIN || err == ErrNotSupported
}

// PeerClosed tells whether the peer has ended its sending side, even if bytes before that end are still unread. A peer that
// has only half-closed is closed too. It looks at the socket below TLS.
func PeerClosed(c net.Conn) bool {
	c = below(c)
	if m, ok := c.(Peeker); ok {
		return m.PeerClosed()
	}
	return polled(c, pollErr|pollHup|pollRdHup)
}

// PeerReset tells whether the connection is over in both directions: the peer has reset it, as one that is gone answers
// whatever is sent to it. It looks at the socket below TLS.
func PeerReset(c net.Conn) bool {
	c = below(c)
	if m, ok := c.(interface{ PeerReset() bool }); ok {
		return m.PeerReset()
	}
	return polled(c, pollErr|pollHup)
}

// Events of poll(2).
const (
	pollErr   = 0x8
	pollHup   = 0x10
	pollRdHup = 0x2000
)

// polled is poll(2) without waiting: whether one of events is there. POLLRDHUP tells of a FIN whatever is unread before it.
func polled(c net.Conn, events int16) bool {
	raw, err := rawConn(c)
	if err != nil {
		return false
	}
	is := false
	err = raw.Control(func(fd uintptr) {
		p := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: pollRdHup}
		var now syscall.Timespec
		n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		is = errno == 0 && n == 1 && p.revents&events != 0
	})
	return is || err != nil // an error: we have closed it ourselves
}

func peekNow(c net.Conn, p []byte) (int, error) {
	if m, ok := c.(Peeker); ok {
		return m.PeekNow(p)
	}
	raw, err := rawConn(c)
	if err != nil {
		return 0, ErrNotSupported
	}
	var n int
	var errno syscall.Errno
	// Control, not Read: Read refuses once an old deadline has passed.
	if err := raw.Control(func(fd uintptr) { n, errno = recvPeek(fd, p) }); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// WaitReadable blocks until c has something to read (bytes, the end or an error), holding no buffer. It observes the read
// deadline. Over a bare tls.Conn it answers ErrNotSupported: the next bytes may already be in its own buffer.
func WaitReadable(c net.Conn) error {
	if w, ok := c.(Awaiter); ok {
		return w.WaitReadable()
	}
	if l := layer(c); l != nil {
		return l.WaitReadable()
	}
	if isTLS(c) {
		return ErrNotSupported
	}
	raw, err := rawConn(below(c))
	if err != nil {
		return ErrNotSupported
	}
	var b [1]byte
	var errno syscall.Errno
	err = raw.Read(func(fd uintptr) bool {
		_, errno = recvPeek(fd, b[:])
		return errno != syscall.EAGAIN
	})
	return found(err, errno)
}

// found is what a wait came to that ended with a look at the socket, which found errno. A socket tells of a reset once: if that
// were kept back, a Read would then find nothing but an end, as if all had come.
func found(err error, errno syscall.Errno) error {
	if err == nil && errno != 0 && errno != syscall.EAGAIN {
		return os.NewSyscallError("recvfrom", errno)
	}
	return err
}

func rawConn(c net.Conn) (syscall.RawConn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, ErrNotSupported
	}
	return sc.SyscallConn()
}

// recvPeek is recv(2) with MSG_PEEK|MSG_DONTWAIT. It can not block, so the scheduler need not know (RawSyscall); package
// syscall's Recvfrom would allocate an address at each call.
func recvPeek(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

// Reset closes c so that the peer sees a reset and no clean end: over TLS without a close_notify.
func Reset(c net.Conn) {
	b := below(c)
	if l, ok := b.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = b.Close()
}

// CloseWrite ends c's sending side only, and falls back to nothing where a connection has no half-close. TLS needs a
// deadline for its alert, or a peer that does not read could hold it for ever.
func CloseWrite(c net.Conn) error {
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	err := h.CloseWrite()
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		// close_notify alone leaves the socket open; peers below TLS wait for the FIN.
		if b, ok := below(t.NetConn()).(interface{ CloseWrite() error }); ok {
			_ = b.CloseWrite()
		}
	}
	return err
}
