package tls

import (
	"errors"
	"net"
	"os"
	"sync"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// maxPlaintext is what one record carries at most (RFC 8446 section 5.1), header and overhead what is added to it:
// 22 bytes with TLS 1.3, up to 29 with the AEADs of TLS 1.2. Where a suite adds more, a system call more is made.
const (
	maxPlaintext = 16 << 10
	header       = 5
	overhead     = 64
)

// batch is how much plaintext leaves in one system call: as many whole records as a bulk buffer takes.
const batch = buffers.Bulk / (maxPlaintext + overhead) * maxPlaintext

// records lies between crypto/tls and a socket. crypto/tls writes each record by a call of its own and reads about one
// record a call; here one system call moves many.
//
// Reading: all there is, up to a bulk buffer, is taken from the socket at once, and handed up one record at a time and
// never more. So crypto/tls holds no bytes of the next record, and "nothing here" is "nothing above" as well. The buffer
// is borrowed when something has come and given back when all of it was handed up.
//
// Writing: between cork and uncork what is written gathers. Without a cork (handshake, alerts, short messages) a write is
// a system call, at once.
type records struct {
	net.Conn
	from *sock.Borrower

	// The reading side is crypto/tls's alone while it shakes hands, afterwards of who holds Conn.reading.
	buf    []byte // borrowed, or nil
	r, w   int    // unread bytes are buf[r:w]
	left   int    // of the present record, not yet handed up; 0: the next byte begins one
	begun  int    // bytes of the present record's header that went up without the rest: below 5, left is not known yet
	length [header]byte
	bulk   bool   // the last read filled a small buffer: more is likely to come than that takes
	hungry bool   // read nothing from the socket: only what is here is wanted
	ended  error  // what a read found that only waited: a socket tells of a reset once
	paced  *paced // before each read of a handshake; see pace.go

	writing sync.Mutex // guards below
	corked  bool
	out     []byte // borrowed while corked
	failed  error  // a write that failed may have sent half a record: nothing can follow it
}

func newRecords(raw net.Conn) *records {
	r := &records{Conn: raw}
	r.from = sock.NewBorrower(raw, r.borrow, buffers.Put)
	return r
}

func (r *records) borrow() []byte {
	if r.bulk {
		return buffers.GetBulk()
	}
	return buffers.GetSmall()
}

// errDry ends a Read that must not wait. crypto/tls keeps it for no later call, since it is temporary, and goes on where it
// stopped.
var errDry net.Error = dry{}

type dry struct{}

func (dry) Error() string   { return "tls: nothing buffered" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Read hands up at most the rest of one record.
func (r *records) Read(p []byte) (int, error) {
	if r.r == r.w {
		if r.ended != nil {
			return 0, r.ended
		}
		if r.hungry {
			return 0, errDry
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	b := r.buf[r.r:r.w]
	n := copy(p, b[:min(len(b), r.present(b))])
	r.advance(b[:n])
	if r.r += n; r.r == r.w {
		buffers.Put(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
	return n, nil
}

// present is how many bytes from the start of b belong to the present record, as far as b tells.
func (r *records) present(b []byte) int {
	if r.left > 0 {
		return r.left
	}
	h := r.length
	n := r.begun + copy(h[r.begun:], b)
	if n < header {
		return n - r.begun
	}
	return header - r.begun + int(h[3])<<8 + int(h[4])
}

// advance notes that b, which ends at or before the present record's end, has gone up.
func (r *records) advance(b []byte) {
	if r.left > 0 {
		r.left -= len(b)
		return
	}
	n := copy(r.length[r.begun:], b)
	if r.begun += n; r.begun == header {
		r.left = int(r.length[3])<<8 + int(r.length[4]) - (len(b) - n)
		r.begun = 0
	}
}

// whole tells whether the rest of the present record is here.
func (r *records) whole() bool {
	b := r.buf[r.r:r.w]
	return (r.left > 0 || r.begun+len(b) >= header) && len(b) >= r.present(b)
}

// wait blocks until there is something to hand up: bytes, the end or an error. Only a passed deadline is returned.
func (r *records) wait() error {
	err := r.fill()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	r.ended = err
	return nil
}

// fill reads once from the socket, waiting without a buffer.
func (r *records) fill() error {
	if r.paced != nil {
		if err := r.paced.wait(r); err != nil {
			return err
		}
	}
	buf, n, err := r.from.Read()
	if err != nil {
		return err
	}
	r.buf, r.r, r.w = buf, 0, n
	r.bulk = n >= buffers.Small
	return nil
}

func (r *records) Write(p []byte) (int, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.failed != nil {
		return 0, r.failed
	}
	if !r.corked {
		if r.paced != nil {
			r.paced.turns.Yield() // a peer that takes nothing would keep the turn; the next one begins with what it answers
		}
		n, err := r.Conn.Write(p)
		r.failed = err
		return n, err
	}
	if len(r.out)+len(p) > cap(r.out) {
		if err := r.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(r.out) {
		n, err := r.Conn.Write(p)
		r.failed = err
		return n, err
	}
	r.out = append(r.out, p...)
	return len(p), nil
}

// cork gathers what is written from now on. Only one Conn.Write at a time may.
func (r *records) cork() {
	r.writing.Lock()
	r.corked, r.out = true, buffers.GetBulk()[:0]
	r.writing.Unlock()
}

// uncork sends what has gathered.
func (r *records) uncork() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	err := r.failed
	if err == nil {
		err = r.flush()
	}
	buffers.Put(r.out)
	r.corked, r.out = false, nil
	return err
}

func (r *records) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.Conn.Write(r.out)
	r.out, r.failed = r.out[:0], err
	return err
}
