package sock

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Lot waits for many idle connections at once. A goroutine that waits keeps its stack, 4 KiB once it has grown, and what it
// was called with; a parked connection is a slot of 32 bytes and an entry in the kernel. It is safe for concurrent use.
//
// Go's own poller can't be asked without a goroutine for each. So the sockets are in a second epoll(7) set, which is itself
// a file that Go's poller waits for. The zero value is ready.
type Lot struct {
	mu     sync.Mutex // guards below
	set    *os.File   // nil before the first connection
	slots  []slot
	free   []uint32
	turns  uint32 // parkings so far: what makes a Place unlike the earlier ones of its slot
	next   time.Time
	timer  *time.Timer
	closed bool
}

// Guest is what owns a parked connection.
type Guest interface {
	// Wake is called once, in a goroutine of its own, when there is something to read (bytes, the end or an error), when the
	// time is over, or when Lot.Wake or Lot.Close were called.
	Wake()
}

// Place is where a connection is parked. The zero value is nowhere.
type Place struct{ slot, turn uint32 }

type slot struct {
	guest Guest
	until int64 // in nanoseconds since 1970; 0: for ever
	turn  uint32
}

// Park has g woken when c has something to read, or at the latest when until has come, unless that is zero. It may be woken
// before Park returns: what Wake does must not need the Place. Nobody may read from c meanwhile. ErrNotSupported: c is no
// socket, or bytes wait above it.
func (l *Lot) Park(c net.Conn, until time.Time, g Guest) (Place, error) {
	if y := layer(c); y != nil && y.Held() || y == nil && isTLS(c) {
		return Place{}, ErrNotSupported
	}
	raw, err := rawConn(below(c))
	if err != nil {
		return Place{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return Place{}, err
	}
	p := l.take(g, until)
	errControl := raw.Control(func(fd uintptr) { err = l.watch(int(fd), p) })
	if err = errors.Join(errControl, err); err != nil {
		l.leave(p)
		return Place{}, err
	}
	if !until.IsZero() && (l.next.IsZero() || until.Before(l.next)) {
		l.alarm(until)
	}
	return p, nil
}

// Wake wakes the guest at p, if it still is there.
func (l *Lot) Wake(p Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake(p)
}

// Len is how many connections are parked.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slots) - len(l.free)
}

// Close wakes all and ends the Lot: nothing can be parked any more.
func (l *Lot) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed = true; l.set == nil {
		return
	}
	l.timer.Stop()
	_ = l.set.Close()
	for i, s := range l.slots {
		l.wake(Place{uint32(i), s.turn})
	}
}

// open makes the set and starts the goroutine that waits for it.
func (l *Lot) open() error {
	if l.closed {
		return net.ErrClosed
	}
	if l.set != nil {
		return nil
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	_ = syscall.SetNonblock(fd, true) // so that os lets Go's poller wait for it
	l.set = os.NewFile(uintptr(fd), "epoll")
	raw, err := l.set.SyscallConn()
	if err == nil {
		err = l.set.SetReadDeadline(time.Time{}) // fails if it does not
	}
	if err != nil {
		_ = l.set.Close()
		l.set = nil
		return err
	}
	l.timer = time.AfterFunc(time.Hour, l.sweep)
	go l.attend(raw)
	return nil
}

// attend wakes guests whose connections have something to read.
func (l *Lot) attend(raw syscall.RawConn) {
	var ready [64]syscall.EpollEvent
	n := 0
	for raw.Read(func(fd uintptr) bool {
		var err error
		n, err = syscall.EpollWait(int(fd), ready[:], 0)
		return n > 0 || err != nil && err != syscall.EINTR
	}) == nil {
		l.mu.Lock()
		for _, e := range ready[:max(n, 0)] {
			l.wake(Place{uint32(e.Fd), uint32(e.Pad)})
		}
		l.mu.Unlock()
	}
}

// watch has the kernel tell once when fd has something to read. One that was here before is still in the set.
func (l *Lot) watch(fd int, p Place) error {
	const oneShot = 1 << 30 // EPOLLONESHOT
	e := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | oneShot, Fd: int32(p.slot), Pad: int32(p.turn)}
	raw, err := l.set.SyscallConn()
	if err != nil {
		return err
	}
	errControl := raw.Control(func(set uintptr) {
		if err = syscall.EpollCtl(int(set), syscall.EPOLL_CTL_ADD, fd, &e); err == syscall.EEXIST {
			err = syscall.EpollCtl(int(set), syscall.EPOLL_CTL_MOD, fd, &e)
		}
	})
	return errors.Join(errControl, os.NewSyscallError("epoll_ctl", err))
}

func (l *Lot) take(g Guest, until time.Time) Place {
	if l.turns++; l.turns == 0 {
		l.turns = 1 // 0 is a slot that nobody is in
	}
	s := slot{guest: g, turn: l.turns}
	if !until.IsZero() {
		s.until = max(1, until.UnixNano())
	}
	if n := len(l.free); n > 0 {
		i := l.free[n-1]
		l.free = l.free[:n-1]
		l.slots[i] = s
		return Place{i, s.turn}
	}
	l.slots = append(l.slots, s)
	return Place{uint32(len(l.slots) - 1), s.turn}
}

// leave empties a slot and returns who was in it: nil if that has left already.
func (l *Lot) leave(p Place) Guest {
	if p.turn == 0 || int(p.slot) >= len(l.slots) || l.slots[p.slot].turn != p.turn {
		return nil
	}
	g := l.slots[p.slot].guest
	l.slots[p.slot] = slot{}
	l.free = append(l.free, p.slot)
	return g
}

func (l *Lot) wake(p Place) {
	if g := l.leave(p); g != nil {
		go g.Wake()
	}
}

// sweep wakes those whose time is over. Times are alike, so that one look at all of them serves many.
func (l *Lot) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	now := time.Now().UnixNano()
	next := int64(0)
	for i, s := range l.slots {
		switch {
		case s.until == 0:
		case s.until <= now:
			l.wake(Place{uint32(i), s.turn})
		case next == 0 || s.until < next:
			next = s.until
		}
	}
	if l.next = (time.Time{}); next != 0 {
		l.alarm(time.Unix(0, next))
	}
}

// granularity bounds how often all are looked at; nobody is woken before his time, some this much after it.
const granularity = 250 * time.Millisecond

func (l *Lot) alarm(at time.Time) {
	l.next = at
	l.timer.Reset(time.Until(at) + granularity)
}
