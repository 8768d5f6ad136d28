package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// ErrIdle ends a copy on which nothing moved for the idle timeout.
var ErrIdle = errors.New("no bytes in either direction for the idle timeout")

// ErrTooLong ends a copy whose Deadline has passed.
var ErrTooLong = errors.New("the connection has lasted as long as one may")

// Side names the connection that ended a copy by an error.
type Side uint8

// Downstream is the connection that was accepted, Upstream the one that was dialled.
const (
	Neither Side = iota
	Downstream
	Upstream
)

// Pipe is two connections that are copied into each other.
type Pipe struct {
	Down, Up net.Conn
	Idle     time.Duration // 0: off
	Deadline time.Time     // zero: none

	In, Out atomic.Int64 // bytes from and to downstream
	last    atomic.Int64 // when a byte last moved, in nanoseconds from start
	start   time.Time
}

// Run copies until both directions have ended. An end of stream on one side becomes a half-close on the other; an error on
// either, or silence on both, ends all. It returns which side failed; both connections are still to be closed.
func (p *Pipe) Run() (Side, error) {
	p.start = time.Now()
	type end struct {
		side Side
		err  error
	}
	up := make(chan end, 1)
	go func() {
		side, err := p.direction(p.Up, p.Down, Upstream, Downstream, &p.In)
		if err != nil {
			p.unblock()
		}
		up <- end{side, err}
	}()
	side, err := p.direction(p.Down, p.Up, Downstream, Upstream, &p.Out)
	if err != nil {
		p.unblock()
	}
	other := <-up
	// The first error is the cause; what the other direction saw is mostly that it was interrupted.
	if err == nil || errors.Is(err, errInterrupted) && other.err != nil {
		side, err = other.side, other.err
	}
	if errors.Is(err, ErrIdle) || errors.Is(err, ErrTooLong) { // nobody failed, whichever side noticed first
		side = Neither
	}
	return side, err
}

var errInterrupted = errors.New("interrupted")

// Interrupt makes Run return, from another goroutine.
func (p *Pipe) Interrupt() { p.unblock() }

// unblock makes both directions return: their deadlines are put into the past and stay there.
func (p *Pipe) unblock() {
	p.last.Store(-1)
	past := time.Unix(1, 0)
	_ = p.Down.SetDeadline(past)
	_ = p.Up.SetDeadline(past)
}

// direction copies src to dst until src ends.
func (p *Pipe) direction(dst, src net.Conn, dstSide, srcSide Side, count *atomic.Int64) (Side, error) {
	for {
		n, err := p.piece(dst, src, dstSide, srcSide)
		if n > 0 {
			count.Add(int64(n))
		}
		if err == nil {
			continue
		}
		if err.err == io.EOF {
			if err := sock.CloseWrite(dst); err != nil {
				return dstSide, err
			}
			return Neither, nil
		}
		return err.side, err.err
	}
}

type failure struct {
	side Side
	err  error
}

// piece moves what one read yields. While there is nothing to read, no buffer is held where the connection allows that.
func (p *Pipe) piece(dst, src net.Conn, dstSide, srcSide Side) (int, *failure) {
	for {
		if err := p.arm(src.SetReadDeadline); err != nil {
			return 0, &failure{Neither, err}
		}
		err := sock.WaitReadable(src)
		if err == nil || err == sock.ErrNotSupported {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, &failure{srcSide, err}
		}
	}
	buf := buffers.GetLarge()
	defer buffers.Put(buf)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			p.moved()
			if err := p.write(dst, buf[:n]); err != nil {
				return 0, &failure{dstSide, err}
			}
			return n, nil
		}
		if err == io.EOF {
			return 0, &failure{srcSide, io.EOF}
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, &failure{srcSide, err}
		}
		if err := p.arm(src.SetReadDeadline); err != nil {
			return 0, &failure{Neither, err}
		}
	}
}

// write writes all of b. A receiver that takes nothing for the idle timeout is idle too; a TLS connection does not survive
// a write that timed out, so the deadline is never merely a tick.
func (p *Pipe) write(dst net.Conn, b []byte) error {
	if p.last.Load() < 0 {
		return errInterrupted
	}
	var at time.Time
	if p.Idle > 0 {
		at = time.Now().Add(p.Idle)
	}
	if !p.Deadline.IsZero() && (at.IsZero() || p.Deadline.Before(at)) {
		at = p.Deadline
	}
	if !at.IsZero() {
		_ = dst.SetWriteDeadline(at)
		if p.last.Load() < 0 { // do not undo what unblock has set
			_ = dst.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	_, err := dst.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrIdle
		if !p.Deadline.IsZero() && !time.Now().Before(p.Deadline) {
			err = ErrTooLong
		}
	}
	p.moved()
	return err
}

func (p *Pipe) moved() {
	// Not a plain store: it could take back what unblock has just said.
	if last := p.last.Load(); last >= 0 {
		p.last.CompareAndSwap(last, int64(time.Since(p.start)))
	}
}

// arm sets the deadline at which it is to be looked whether the pipe is idle: each direction waits alone, but only silence
// on both counts.
func (p *Pipe) arm(set func(time.Time) error) error {
	last := p.last.Load()
	if last < 0 {
		return errInterrupted
	}
	var at time.Time
	now := time.Now()
	if p.Idle > 0 {
		if at = p.start.Add(time.Duration(last)).Add(p.Idle); !now.Before(at) {
			return ErrIdle
		}
	}
	if !p.Deadline.IsZero() {
		if !now.Before(p.Deadline) {
			return ErrTooLong
		}
		if at.IsZero() || p.Deadline.Before(at) {
			at = p.Deadline
		}
	}
	_ = set(at)
	if p.last.Load() < 0 {
		return errInterrupted
	}
	return nil
}
