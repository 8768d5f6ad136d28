package memconn

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Network is a set of listeners found by address. The zero value is an empty network, ready for use.
type Network struct {
	mu        sync.Mutex // guards all below
	listeners map[string]*Listener
	port      uint16
}

// Listen opens addr, which is "ip:port" or a socket's path; port 0 chooses one.
func (n *Network) Listen(addr string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*Listener{}
	}
	var at net.Addr = &net.UnixAddr{Name: addr, Net: "unix"}
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		if ap.Port() == 0 {
			ap = netip.AddrPortFrom(ap.Addr(), n.nextPort())
		}
		at = net.TCPAddrFromAddrPort(ap)
	}
	if n.listeners[at.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: at, Err: syscall.EADDRINUSE}
	}
	l := &Listener{network: n, addr: at, queue: make(chan *Conn, 128), done: make(chan struct{})}
	n.listeners[at.String()] = l
	return l, nil
}

func (n *Network) nextPort() uint16 {
	n.port++
	return 32768 + n.port%28000
}

// Dial connects to a listener of this network. Its form is that of net.Dialer.DialContext. No listener is ECONNREFUSED.
func (n *Network) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.nextPort()))
	n.mu.Unlock()
	refuse := func(err error) error {
		return &net.OpError{Op: "dial", Net: "mem", Err: fmt.Errorf("connect to %s: %w", addr, err)}
	}
	if l == nil {
		return nil, refuse(syscall.ECONNREFUSED)
	}
	ours, theirs := Pair(from, l.addr)
	select {
	case l.queue <- theirs:
		select {
		case <-l.done: // closed meanwhile: nobody else will empty the queue
			l.refuseQueued()
		default:
		}
		return ours, nil
	case <-l.done:
		return nil, refuse(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, refuse(ctx.Err())
	}
}

// Listener accepts connections.
type Listener struct {
	network *Network
	addr    net.Addr
	queue   chan *Conn
	done    chan struct{}
	once    sync.Once
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.addr, Err: net.ErrClosed}
}

// Close stops listening and resets connections that nobody has accepted.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.addr.String())
		l.network.mu.Unlock()
		close(l.done)
		l.refuseQueued()
	})
	return nil
}

func (l *Listener) refuseQueued() {
	for {
		select {
		case c := <-l.queue:
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			return
		}
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.addr }
