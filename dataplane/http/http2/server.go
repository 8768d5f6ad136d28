package http2

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"time"
)

// Server is the server's end of a connection. Its state is guarded by conn.mu.
type Server struct {
	c       *conn
	handle  func(*Stream)
	parked  []*worker // the last that was parked is the first to work again: its stack is warm
	waiting []*Stream // for a place among the handlers
}

// worker is a goroutine that runs handlers, one after the other. A nil ends it; there is never more than one in work.
type worker struct{ work chan *Stream }

// NewServer makes the server's end of c.
func NewServer(c net.Conn, o Options) *Server {
	s := &Server{c: newConn(c, o, true)}
	s.c.dispatch, s.c.retire, s.c.drop = s.dispatch, s.retire, s.drop
	return s
}

// Serve reads requests and calls handle for each, in goroutines that are reused. It returns when the connection is over and
// all handlers have returned; the connection is then closed. nil is an end in good order.
func (s *Server) Serve(handle func(*Stream)) error {
	c := s.c
	s.handle = handle
	c.mu.Lock()
	c.queueGreeting()
	c.timer.emptySince = c.now
	if c.idle > 0 {
		c.timer.arm(c, c.now.Add(c.idle))
	}
	if c.opts.Ping > 0 {
		c.timer.arm(c, c.now.Add(c.opts.Ping))
	}
	c.mu.Unlock()
	err := c.run()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.retire()
	for c.handlers > 0 {
		c.overDone.Wait()
	}
	if errors.Is(err, io.EOF) || err == errDrained || err == errIdle {
		return nil
	}
	return err
}

// Streams is how many requests are open.
func (s *Server) Streams() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return len(s.c.all)
}

// Drain tells the client to send no more requests, and closes the connection when the last one has ended: RFC 9113 section
// 6.8. What the client has sent before it heard of that is still served.
func (s *Server) Drain() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goaway.draining || c.err != nil {
		return
	}
	c.goaway.draining = true
	c.closeDone()
	c.queueGoAway(NoError, maxStreamID, "")
	c.queuePing(pingDrain)
	c.timer.drainBy = time.Now().Add(c.opts.Drain)
	c.timer.arm(c, c.timer.drainBy)
	c.kick(nil)
}

// SetIdle bounds how long the connection may be without a stream; 0: it may for ever.
func (s *Server) SetIdle(d time.Duration) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = d
	if since := c.timer.emptySince; d > 0 && !since.IsZero() {
		c.timer.arm(c, since.Add(d))
	}
}

// dispatch hands a stream to a handler, or lets it wait for a place: a stream that was reset keeps its place until its
// handler has returned. As many wait as may be open at most.
func (s *Server) dispatch(st *Stream) {
	switch {
	case st.abandoned:
		st.recycle()
	case s.c.handlers >= int(s.c.opts.MaxStreams):
		st.waiting = true
		s.waiting = append(s.waiting, st)
	default:
		s.c.handlers++
		s.start(st)
	}
}

func (s *Server) start(st *Stream) {
	last := len(s.parked) - 1
	if last < 0 {
		w := &worker{work: make(chan *Stream, 1)}
		go s.work(w, st)
		return
	}
	w := s.parked[last]
	s.parked[last] = nil
	s.parked = s.parked[:last]
	w.work <- st
}

// drop takes a stream that was reset, or lost its connection, out of those that wait.
func (s *Server) drop(st *Stream) {
	for i, w := range s.waiting {
		if w == st {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			st.recycle()
			return
		}
	}
}

// work runs handlers until there is nothing to do for long.
func (s *Server) work(w *worker, st *Stream) {
	for st != nil {
		s.run(st)
		if st = s.more(w); st == nil {
			st = <-w.work
		}
	}
}

// more finds a stream that waits, or parks the worker. A worker that is not needed gets a nil.
func (s *Server) more(w *worker) *Stream {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(s.waiting) > 0 {
		st := s.waiting[0]
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
		st.waiting = false
		return st
	}
	c.handlers--
	if c.err != nil {
		w.work <- nil
		if c.handlers == 0 {
			c.overDone.Broadcast()
		}
		return nil
	}
	s.parked = append(s.parked, w)
	c.maybeDrained()
	return nil
}

// retire ends parked workers. It is called with the lock.
func (s *Server) retire() {
	for _, w := range s.parked {
		w.work <- nil
	}
	clear(s.parked)
	s.parked = s.parked[:0]
}

// run serves one stream, and ends what its handler left open.
func (s *Server) run(st *Stream) {
	defer s.finish(st)
	if s.c.opts.OnPanic != nil {
		defer func() {
			if v := recover(); v != nil {
				s.c.opts.OnPanic(v, debug.Stack())
			}
		}()
	}
	s.handle(st)
}

// finish ends a stream whose handler has returned.
func (s *Server) finish(st *Stream) {
	c := s.c
	c.mu.Lock()
	if st.place >= 0 {
		code := InternalError
		if st.localEnded {
			code = NoError // the response is complete, nobody reads the rest of the request: RFC 9113 section 8.1
		}
		st.giveUp(code, "the handler has returned")
	}
	c.kick(st)
	st.onGone = nil
	for st.telling {
		c.told.Wait()
	}
	st.recycle()
	c.mu.Unlock()
}
