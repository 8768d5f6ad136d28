package http2

import (
	"net"
	"time"
)

// tunnel is a stream as a connection: RFC 9113 section 8.5. END_STREAM is a half-close.
type tunnel struct{ st *Stream }

// Tunnel turns the exchange into opaque bytes. The head that was held leaves: the peer waits for it.
func (st *Stream) Tunnel() net.Conn {
	_ = st.Flush()
	return tunnel{st}
}

func (t tunnel) Read(p []byte) (int, error) { return t.st.Read(p) }

// WaitReadable is sock.Awaiter: nobody holds a buffer while the stream is silent.
func (t tunnel) WaitReadable() error { return t.st.Await() }

func (t tunnel) Write(p []byte) (int, error) {
	if err := t.st.Write(p); err != nil {
		return 0, err
	}
	if err := t.st.Flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t tunnel) CloseWrite() error { return t.st.End(nil) }

// Close ends both directions. What the peer still sends nobody reads: a reset says so.
func (t tunnel) Close() error {
	st := t.st
	c := st.c
	c.mu.Lock()
	ended := st.localEnded || st.writeErr != nil
	c.mu.Unlock()
	if !ended {
		_ = st.End(nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.place >= 0 {
		code := NoError
		if !c.server {
			code = Cancel
		}
		st.giveUp(code, "tunnel closed here")
		c.kick(nil)
	}
	return nil
}

func (t tunnel) LocalAddr() net.Addr                { return t.st.c.net.LocalAddr() }
func (t tunnel) RemoteAddr() net.Addr               { return t.st.c.net.RemoteAddr() }
func (t tunnel) SetReadDeadline(d time.Time) error  { return t.st.SetReadDeadline(d) }
func (t tunnel) SetWriteDeadline(d time.Time) error { return t.st.SetWriteDeadline(d) }
func (t tunnel) SetDeadline(d time.Time) error {
	_ = t.st.SetReadDeadline(d)
	return t.st.SetWriteDeadline(d)
}
