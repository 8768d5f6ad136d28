package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// Sockets are the listening sockets of this process: those that it inherited, until they are asked for, and those that are
// open. Its Listen stands in for the net package's. The zero value is not ready; see NewSockets and Inherit.
type Sockets struct {
	bind func(ctx context.Context, network, addr string) (net.Listener, error)

	mu        sync.Mutex // guards below
	inherited map[place][]net.Listener
	open      []*socket // in the order of Listen, so that two of one address stay apart
	begun     bool
	released  bool

	begin chan struct{} // closed by Begin: inherited sockets accept from then on
}

// place is what a socket was asked for by. An address with port 0 is one too: who asks again means the same socket.
type place struct{ network, addr string }

// NewSockets are none yet.
func NewSockets() *Sockets {
	return &Sockets{bind: (&net.ListenConfig{}).Listen, inherited: map[place][]net.Listener{}, begin: make(chan struct{})}
}

// Listen returns the inherited socket of the address, or binds a new one.
//
// An inherited socket accepts nothing before Begin: the predecessor serves until then, and a process that never becomes
// ready must not have taken a connection with it.
func (s *Sockets) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	at := place{network, addr}
	if l := s.take(at); l != nil {
		return l, nil
	}
	l, err := s.bind(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(at, l, nil), nil
}

// take finds an inherited socket; nil: there is none.
func (s *Sockets) take(at place) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.inherited[at]
	if len(left) == 0 {
		return nil
	}
	s.inherited[at] = left[1:]
	return s.add(at, left[0], s.begin)
}

// add counts a socket as open. s.mu is held.
func (s *Sockets) add(at place, l net.Listener, begin <-chan struct{}) *socket {
	one := &socket{Listener: l, of: s, at: at, begin: begin, closed: make(chan struct{})}
	s.open = append(s.open, one)
	return one
}

// Begin lets the inherited sockets accept, and closes those that nobody asked for: the configuration has no use for them.
func (s *Sockets) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return
	}
	s.begun = true
	for _, left := range s.inherited {
		for _, l := range left {
			unlink(l, true) // a socket file that nobody serves
			_ = l.Close()
		}
	}
	clear(s.inherited)
	for _, one := range s.open {
		if one.begin != nil {
			unlink(one.Listener, true) // it is this process's file now
		}
	}
	close(s.begin)
}

// Release closes all open sockets in this process only: the successor has them too, and their queues and files stay.
func (s *Sockets) Release() {
	s.mu.Lock()
	open := s.open
	s.open, s.released = nil, true
	s.mu.Unlock()
	for _, one := range open {
		unlink(one.Listener, false)
		_ = one.Close()
	}
}

// unlink says whether a Unix socket's file goes with the socket.
func unlink(l net.Listener, with bool) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(with)
	}
}

func (s *Sockets) forget(one *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.open {
		if o == one {
			s.open = append(s.open[:i:i], s.open[i+1:]...)
			return
		}
	}
}

// files are duplicates of the open sockets, to be given to a successor, whose first gets the number first there. The caller
// closes them.
func (s *Sockets) files(first int) (files []*os.File, names []legacy, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return nil, nil, errors.New("this process has handed over already")
	}
	for _, one := range s.open {
		f, err := duplicate(one.Listener)
		if err != nil {
			closeAll(files)
			return nil, nil, fmt.Errorf("socket of %s %s: %w", one.at.network, one.at.addr, err)
		}
		names = append(names, legacy{Network: one.at.network, Address: one.at.addr, FD: first + len(files)})
		files = append(files, f)
	}
	return files, names, nil
}

// duplicate is what the listener's File would be, without its trap: exec asks a file for its descriptor, and one that comes
// from File is then made blocking. That is a property of the socket and not of the descriptor, so that this process's
// own accept loop would block a thread, and Close would wait for it.
func duplicate(l net.Listener) (*os.File, error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no socket of the operating system and cannot be handed over", l)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, failed := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, failed = dup(int(old)) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("dup", failed)
	}
	return os.NewFile(uintptr(fd), l.Addr().String()), nil
}

func dup(fd int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, firstFD)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// adopt makes listeners of what a predecessor left.
func (s *Sockets) adopt(all []legacy) error {
	for _, one := range all {
		l, err := listenerOf(one)
		if err != nil {
			return fmt.Errorf("$%s: socket of %s %s, file descriptor %d: %w", Variable, one.Network, one.Address, one.FD, err)
		}
		at := place{one.Network, one.Address}
		s.inherited[at] = append(s.inherited[at], l)
	}
	return nil
}

// listenerOf takes a descriptor over. FileListener makes a duplicate that exec closes, and this one is closed here.
func listenerOf(one legacy) (net.Listener, error) {
	f := os.NewFile(uintptr(one.FD), one.Address)
	if f == nil {
		return nil, errors.New("is none")
	}
	defer f.Close()
	listening, err := syscall.GetsockoptInt(one.FD, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if listening == 0 {
		return nil, errors.New("does not listen")
	}
	return net.FileListener(f)
}

// socket is one that is open. It leaves the list when it is closed, whoever closes it.
type socket struct {
	net.Listener
	of     *Sockets
	at     place
	begin  <-chan struct{} // nil: accept at once
	once   sync.Once
	closed chan struct{}
}

// Accept waits for Begin first, if the socket was inherited.
func (s *socket) Accept() (net.Conn, error) {
	if s.begin != nil {
		select {
		case <-s.begin:
		case <-s.closed:
			return nil, &net.OpError{Op: "accept", Net: s.at.network, Addr: s.Addr(), Err: net.ErrClosed}
		}
	}
	return s.Listener.Accept()
}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.of.forget(s)
	return s.Listener.Close()
}
