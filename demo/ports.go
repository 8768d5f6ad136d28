package demo

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ports keeps TCP ports of 127.0.0.1 free for processes that are yet to bind them.
//
// Each is held by a socket that is bound with SO_REUSEADDR and never listens. Linux gives such a port to nobody by chance,
// neither to a bind to port 0 nor to an outgoing connection, but lets a listener with SO_REUSEADDR (every listener of Go) bind
// it by name. So nothing can take a port between the choice and its use, and any number of demos run side by side.
type ports struct{ sockets []int }

// reserve lets the kernel choose.
func (p *ports) reserve() (int, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	p.sockets = append(p.sockets, s)
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	bound, err := unix.Getsockname(s)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	return bound.(*unix.SockaddrInet4).Port, nil
}

// release gives all ports back.
func (p *ports) release() {
	for _, s := range p.sockets {
		unix.Close(s)
	}
	p.sockets = nil
}
