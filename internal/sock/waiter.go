package sock

import (
	"net"
	"syscall"
)

// Waiter asks one connection again and again without allocating, as WaitReadable and Alive do once. It is not safe for
// concurrent use.
type Waiter struct {
	layer Layer // asked first
	mem   Peeker
	raw   syscall.RawConn
	tls   bool
	read  func(fd uintptr) bool
	look  func(fd uintptr)

	asked bool
	errno syscall.Errno
	one   [1]byte
}

// NewWaiter makes the Waiter of c, for its lifetime.
func NewWaiter(c net.Conn) *Waiter {
	w := &Waiter{layer: layer(c)}
	w.tls = w.layer == nil && isTLS(c)
	transport := below(c)
	if w.mem, _ = transport.(Peeker); w.mem != nil {
		return w
	}
	w.raw, _ = rawConn(transport)
	w.look = func(fd uintptr) { _, w.errno = recvPeek(fd, w.one[:]) }
	w.read = func(fd uintptr) bool {
		// Asked once, after the poller was armed: what comes later wakes it. Whether there really is something then, the
		// Read that follows finds out by itself: a second look would cost a system call and say the same.
		if w.asked {
			return true
		}
		w.asked = true
		_, w.errno = recvPeek(fd, w.one[:])
		return w.errno != syscall.EAGAIN
	}
	return w
}

// WaitReadable blocks until a Read is likely not to; see the function of that name.
func (w *Waiter) WaitReadable() error {
	switch {
	case w.layer != nil:
		return w.layer.WaitReadable()
	case w.tls:
		return ErrNotSupported
	case w.mem != nil:
		return w.mem.WaitReadable()
	case w.raw == nil:
		return ErrNotSupported
	}
	w.asked, w.errno = false, 0
	return found(w.raw.Read(w.read), w.errno)
}

// Alive tells whether the idle connection may carry another message; see the function of that name.
func (w *Waiter) Alive() bool {
	switch {
	case w.layer != nil && w.layer.Held():
		return false
	case w.mem != nil:
		_, err := w.mem.PeekNow(w.one[:])
		return err == syscall.EAGAIN
	case w.raw == nil:
		return true
	}
	return w.raw.Control(w.look) == nil && w.errno == syscall.EAGAIN
}
