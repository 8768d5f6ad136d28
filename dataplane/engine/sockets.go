package engine

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
	addr     string // by addrOf
	name     string // that it was opened under
	raw      net.Listener
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

// addrOf is by which address a listener's socket is kept. A path never looks like one of IP. Port 0 is any free one, so that
// only the name tells such listeners apart.
func addrOf(spec *listener.Spec) string {
	switch {
	case spec.Unix != "":
		return spec.Unix
	case spec.Addr.Port() == 0:
		return spec.Addr.String() + " " + spec.Name
	}
	return spec.Addr.String()
}

// bind opens what g needs and is not open yet: all of it or nothing.
func (e *Engine) bind(g *config.Graph) (batch, error) {
	if err := distinct(g); err != nil {
		return nil, err
	}
	var out batch
	for name, spec := range g.Listeners {
		addr := addrOf(spec)
		if e.sockets.has(addr) {
			continue
		}
		l, err := e.listen(spec)
		if err != nil {
			out.close()
			return nil, fmt.Errorf("listener %q: bind %s: %w", name, addr, err)
		}
		out = append(out, e.newSocket(name, addr, l))
	}
	return out, nil
}

func (e *Engine) newSocket(name, addr string, l net.Listener) *socket {
	s := &socket{addr: addr, name: name, raw: l, source: e.source(addr)}
	s.listener = listener.New(listener.Options{
		Name: name, Listener: l, Recorder: e.o.Recorder, Source: s.source, Overload: e.o.Overload, Handshakes: e.gate,
		OnHandshakeError: func(remote netip.AddrPort, err error) { e.logRefused(name, remote, err) },
		OnAcceptError:    func(err error) { e.log.Error("accept", "listener", name, "address", addr, "error", err) },
		OnPanic: func(v any, stack []byte) {
			e.log.Error("a bug ended one connection", "listener", name, "panic", v, "stack", string(stack))
		},
	})
	s.start = func() { e.running.Go(func() { _ = s.listener.Serve(e.serving) }) }
	s.stop = func() {
		s.listener.Close() // at once: the next configuration may want the address back
		e.running.Go(func() {
			ctx, cancel := context.WithTimeout(e.serving, e.o.DrainTime)
			defer cancel()
			if s.listener.Drain(ctx) != nil {
				e.log.Warn("listener is gone, its last connections were cut", "listener", name, "after", e.o.DrainTime)
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
func (e *Engine) source(addr string) listener.Source {
	var last atomic.Pointer[found]
	return func() *listener.Spec {
		g := e.current.Load()
		if g == nil {
			return nil
		}
		if f := last.Load(); f != nil && f.graph == g {
			return f.spec
		}
		f := &found{graph: g}
		for _, spec := range g.Listeners {
			if addrOf(spec) == addr {
				f.spec = spec
			}
		}
		last.Store(f)
		return f.spec
	}
}

// logRefused says who was refused and why. A port scan, or a peer that just goes away, is no news; and whoever knocks a
// thousand times a second fills no disk.
func (e *Engine) logRefused(name string, remote netip.AddrPort, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		e.log.Debug("handshake not finished", "listener", name, "remote", remote, "reason", err)
		return
	}
	suppressed, ok := e.refused.allow(time.Now())
	if ok {
		e.log.Warn("handshake refused", "listener", name, "remote", remote, "reason", err, "suppressed", suppressed)
	}
}

func (s *sockets) has(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byAddr[addr] != nil
}

// serve begins to accept on what was bound.
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
		kept[addrOf(spec)] = true
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
