package tls

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// Conn is a crypto/tls connection that makes few system calls and holds few bytes: many records leave and arrive in one
// call, no buffer is held while nothing has come, and the handshake leaves no grown stack behind. All else is crypto/tls's.
// It is safe for concurrent use as every net.Conn is.
type Conn struct {
	*tls.Conn
	raw     net.Conn
	records *records

	shaken  atomic.Bool // the handshake is done
	reading sync.Mutex  // guards below, and the reading side of records
	full    bool        // the last Read had no room left: more of its record may wait in crypto/tls
	ahead   [1]byte     // what was read to find that out, if anything was
	isAhead bool
	failed  error // what ended a Read after it had some bytes: for the next one

	writing sync.Mutex // one Write, one after the other: crypto/tls sees a long one in pieces
}

// NewServer is the accepting side of TLS on raw.
func NewServer(raw net.Conn, cfg *tls.Config) *Conn { return newConn(raw, cfg, tls.Server) }

// NewClient is the dialling side of TLS on raw.
func NewClient(raw net.Conn, cfg *tls.Config) *Conn { return newConn(raw, cfg, tls.Client) }

func newConn(raw net.Conn, cfg *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) *Conn {
	r := newRecords(raw)
	return &Conn{Conn: side(r, cfg), raw: raw, records: r}
}

// NetConn is the connection below TLS. Reading or writing there breaks this one.
func (c *Conn) NetConn() net.Conn { return c.raw }

// Handshake shakes hands, if that was not done yet.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext shakes hands in a goroutine of its own: certificates and curves need a stack of 16 or 32 KiB, which a
// goroutine keeps, and the one that called will serve the connection for hours.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if c.shaken.Load() {
		return nil
	}
	type result struct {
		err   error
		panic error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r.panic = fmt.Errorf("%v, in a TLS handshake\n%s", v, debug.Stack())
			}
			done <- r
		}()
		if c.records.paced == nil { // else at its first turn: who only connects gets no stack
			roomyStack()
		}
		if r.err = c.Conn.HandshakeContext(ctx); r.err == nil {
			// The slice is the one that crypto/tls keeps. Nobody else knows it yet.
			chain := c.Conn.ConnectionState().PeerCertificates
			for i := range chain {
				chain[i] = callers.one(chain[i])
			}
		}
	}()
	r := <-done
	if r.panic != nil {
		panic(r.panic) // in the goroutine that knows what to end
	}
	c.shaken.Store(r.err == nil)
	return r.err
}

// roomyStack has the goroutine's stack grow at once to what a handshake needs: else it would double three times on the way, and be
// copied each time, which is 2 % of a handshake with ECDSA.
//
//go:noinline
func roomyStack() {
	var room [14 << 10]byte
	runtime.KeepAlive(&room)
}

// Read reads what has come, of as many records as are here and b has room for.
func (c *Conn) Read(b []byte) (n int, err error) {
	if err := c.Handshake(); err != nil || len(b) == 0 {
		return 0, err
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	switch {
	case c.failed != nil:
		err, c.failed = c.failed, nil
		return 0, err
	case c.isAhead:
		c.isAhead = false
		b[0] = c.ahead[0]
		n, err = c.readHere(b[1:])
		n++
	default:
		n, err = c.Conn.Read(b)
	}
	for n > 0 && n < len(b) && err == nil && c.records.whole() {
		var more int
		more, err = c.readHere(b[n:])
		n += more
	}
	c.full = n == len(b)
	if n > 0 && err != nil {
		c.failed, err = err, nil
	}
	return n, err
}

// readHere reads what is here already, and nothing if that is no data: a record may hold something else, after which
// crypto/tls would wait for the next one.
func (c *Conn) readHere(b []byte) (int, error) {
	c.records.hungry = true
	n, err := c.Conn.Read(b)
	c.records.hungry = false
	if err == errDry {
		err = nil
	}
	return n, err
}

// WaitReadable blocks until something has come, holding no buffer meanwhile: sock.Layer. What has come may be less than a
// record, or one without data.
func (c *Conn) WaitReadable() error {
	if !c.shaken.Load() {
		return sock.ErrNotSupported
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.heldLocked() {
		return nil
	}
	return c.records.wait()
}

// Held tells whether bytes, or the end, have come that nobody has read yet: sock.Layer. While somebody reads, they may.
func (c *Conn) Held() bool {
	if !c.shaken.Load() || !c.reading.TryLock() {
		return true
	}
	defer c.reading.Unlock()
	return c.heldLocked()
}

func (c *Conn) heldLocked() bool {
	if c.records.r < c.records.w || c.records.ended != nil || c.isAhead || c.failed != nil {
		return true
	}
	if c.full { // crypto/tls does not say whether it has more: only a read does
		n, err := c.readHere(c.ahead[:])
		c.full, c.isAhead, c.failed = n == 1, n == 1, err
	}
	return c.isAhead || c.failed != nil
}

// Write writes b in as few system calls as its length allows. When it returns without an error, all is with the kernel.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(b) <= maxPlaintext {
		return c.Conn.Write(b)
	}
	done := 0
	for done < len(b) {
		n, err := c.writeBatch(b[done:min(len(b), done+batch)])
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeBatch writes one batch; of one that failed nobody knows how much has arrived, so nothing counts.
func (c *Conn) writeBatch(b []byte) (int, error) {
	c.records.cork()
	n, err := c.Conn.Write(b)
	if e := c.records.uncork(); err == nil {
		err = e
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// CloseWrite ends the sending side by an alert, after a Write that is under way.
func (c *Conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.Conn.CloseWrite()
}

// Close ends the connection: by an alert, or, if a Write is under way, by breaking that, as crypto/tls does.
func (c *Conn) Close() error {
	if !c.writing.TryLock() {
		return c.raw.Close()
	}
	defer c.writing.Unlock()
	return c.Conn.Close()
}
