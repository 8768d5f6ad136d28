package http1

import "net"

// tunnel is the connection c from where r has read it: itself if nothing is buffered.
func tunnel(c net.Conn, r *Reader) net.Conn {
	if r.Buffered() == 0 {
		r.Release()
		return c
	}
	return &ahead{Conn: c, r: r}
}

// ahead is a connection of which some bytes have been read already.
type ahead struct {
	net.Conn
	r *Reader
}

func (a *ahead) Read(p []byte) (int, error) {
	if n := min(len(p), a.r.Buffered()); n > 0 {
		n = copy(p, a.r.Take(n))
		a.r.Release()
		return n, nil
	}
	return a.Conn.Read(p)
}

// WaitReadable is sock.Awaiter.
func (a *ahead) WaitReadable() error {
	if a.r.Buffered() > 0 {
		return nil
	}
	_, err := a.r.awaitReadable()
	return err
}

// CloseWrite ends the sending side.
func (a *ahead) CloseWrite() error { return closeWrite(a.Conn) }

// NetConn is what lies below.
func (a *ahead) NetConn() net.Conn { return a.Conn }

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
