package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// sockets are the listeners that accept. They are kept by the address that the configuration names: a listener that is
// renamed, or two that change places, need no new socket, and no connection is refused in between.
type sockets struct {
	mu     sync.Mutex // guards below
	byAddr map[string]*socket
}

type socket struct {
	addr     string
	name     string // that it was opened under
	listener *listener.Listener
	source   listener.Source
	start    func() // serves, until drained
	stop     func() // drains and does not wait for it
}

// batch are sockets that were bound for a configuration that is not in force yet.
type batch []*socket

func (b batch) close() {
	for _, s := range b {
		s.listener.Close()
	}
}

// bind opens what g needs and is not open yet: all of it or nothing.
func (p *Proxy) bind(g *config.Graph) (batch, error) {
	var out batch
	wanted := map[string]string{}
	for name, spec := range g.Listeners {
		addr := spec.Addr.String()
		if other, twice := wanted[addr]; twice {
			out.close()
			return nil, fmt.Errorf("listeners %q and %q: both want %s", min(name, other), max(name, other), addr)
		}
		wanted[addr] = name
		if p.sockets.has(addr) {
			continue
		}
		l, err := p.cfg.Listen(p.serving, "tcp", addr)
		if err != nil {
			out.close()
			return nil, listenError(name, addr, err)
		}
		out = append(out, p.newSocket(name, spec.Addr, l))
	}
	return out, nil
}

func (p *Proxy) newSocket(name string, addr netip.AddrPort, l net.Listener) *socket {
	s := &socket{addr: addr.String(), name: name, source: p.source(addr)}
	s.listener = listener.New(listener.Options{
		Name: name, Listener: l, Recorder: p.sinks.recorder, Source: s.source,
		OnHandshakeError: func(remote netip.AddrPort, err error) { p.logRefused(name, remote, err) },
		OnAcceptError:    func(err error) { p.log.Error("accept", "listener", name, "address", addr, "error", err) },
		OnPanic: func(v any, stack []byte) {
			p.log.Error("a bug ended one connection", "listener", name, "panic", v, "stack", string(stack))
		},
	})
	s.start = func() { p.running.Go(func() { _ = s.listener.Serve(p.serving) }) }
	s.stop = func() {
		s.listener.Close() // at once: the next configuration may want the address back
		p.running.Go(func() {
			ctx, cancel := context.WithTimeout(p.serving, p.cfg.DrainTime)
			defer cancel()
			if s.listener.Drain(ctx) != nil {
				p.log.Warn("listener is gone, its last connections were cut", "listener", name, "after", p.cfg.DrainTime)
			}
		})
	}
	return s
}

// found is what the last look-up in a configuration gave.
type found struct {
	graph *config.Graph
	spec  *listener.Spec
}

// source is asked at each request: what is at addr is looked up once a configuration.
func (p *Proxy) source(addr netip.AddrPort) listener.Source {
	var last atomic.Pointer[found]
	return func() *listener.Spec {
		g := p.current.Load()
		if g == nil {
			return nil
		}
		if f := last.Load(); f != nil && f.graph == g {
			return f.spec
		}
		f := &found{graph: g}
		for _, spec := range g.Listeners {
			if spec.Addr == addr {
				f.spec = spec
			}
		}
		last.Store(f)
		return f.spec
	}
}

// logRefused says who was refused and why. A port scan, or a peer that just goes away, is no news; and whoever knocks a
// thousand times a second fills no disk.
func (p *Proxy) logRefused(name string, remote netip.AddrPort, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		p.log.Debug("handshake not finished", "listener", name, "remote", remote, "reason", err)
		return
	}
	suppressed, ok := p.refused.allow(time.Now())
	if ok {
		p.log.Warn("handshake refused", "listener", name, "remote", remote, "reason", err, "suppressed", suppressed)
	}
}

func (s *sockets) has(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byAddr[addr] != nil
}

func (s *sockets) serve(b batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range b {
		s.byAddr[one.addr] = one
		one.start()
	}
}

// drainGone takes away what g has not: it accepts nothing any more. Connections end by themselves; what is left is cut with the proxy.
func (s *sockets) drainGone(g *config.Graph) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := map[string]bool{}
	for _, spec := range g.Listeners {
		kept[spec.Addr.String()] = true
	}
	for addr, one := range s.byAddr {
		if !kept[addr] {
			delete(s.byAddr, addr)
			one.stop()
		}
	}
}

func (s *sockets) open() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*socket
	for _, one := range s.byAddr {
		out = append(out, one)
	}
	return out
}

func (s *sockets) rejudge() {
	for _, one := range s.open() {
		one.source() // an idle listener must not hold on to the configuration before
		one.listener.Rejudge()
	}
}

// drainAll ends all listeners and returns how many had to cut connections.
func (s *sockets) drainAll(ctx context.Context) int {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		cut int
	)
	for _, one := range s.open() {
		wg.Go(func() {
			if one.listener.Drain(ctx) != nil {
				mu.Lock()
				cut++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return cut
}

// limiter lets a few lines a second through and counts the others.
type limiter struct {
	mu         sync.Mutex // guards below
	second     int64
	n          int
	suppressed int
}

const linesASecond = 20

func (l *limiter) allow(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.n = s, 0
	}
	if l.n++; l.n > linesASecond {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}
