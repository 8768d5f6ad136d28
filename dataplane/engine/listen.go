package engine

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// listen opens a listener's socket, or gets the one of a process that hands over.
func (e *Engine) listen(spec *listener.Spec) (net.Listener, error) {
	network, addr := "tcp", spec.Addr.String()
	if spec.Unix != "" {
		network, addr = "unix", spec.Unix
	}
	l, err := e.o.Listen(e.serving, network, addr)
	if errors.Is(err, syscall.EADDRINUSE) && network == "unix" && abandoned(addr) && os.Remove(addr) == nil {
		l, err = e.o.Listen(e.serving, network, addr)
	}
	if err != nil {
		return nil, err
	}
	if err := adjust(l, spec); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// abandoned tells whether a path is the socket of a process that is gone: its file outlives it, and nobody could listen there
// any more.
func abandoned(path string) bool {
	if strings.HasPrefix(path, "@") {
		return false
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// adjust sets what can be changed of a socket that is open. On one that listens already listen(2) only changes the backlog.
func adjust(l net.Listener, spec *listener.Spec) error {
	if spec.Unix != "" && spec.UnixMode != 0 && !strings.HasPrefix(spec.Unix, "@") {
		if err := os.Chmod(spec.Unix, fs.FileMode(spec.UnixMode)); err != nil {
			return err
		}
	}
	socket, ok := l.(syscall.Conn)
	if !ok || spec.Backlog == 0 {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), spec.Backlog) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", failed)
}

// adjustKept does it for the sockets that were open before g.
func (e *Engine) adjustKept(g *config.Graph) {
	specs := map[string]*listener.Spec{}
	for _, spec := range g.Listeners {
		specs[addrOf(spec)] = spec
	}
	for _, s := range e.sockets.open() {
		if spec := specs[s.addr]; spec != nil {
			if err := adjust(s.raw, spec); err != nil {
				e.log.Warn("listener not adjusted", "listener", spec.Name, "address", s.addr, "error", err)
			}
		}
	}
}
