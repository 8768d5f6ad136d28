package http

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// A request body that is not all here when the head is sent is copied by a goroutine of its own, because a server may answer
// before it has read it. There is one only for such requests.
type upload struct {
	running bool
	done    chan struct{} // closed when the goroutine has ended
	bytes   int64         // read before that; valid after it

	read   atomic.Bool // the whole body was read: set before its last piece is written
	broken atomic.Bool // the client failed, or its body is malformed
	err    error       // valid after done
	bug    string      // of the goroutine; valid after done
}

// startUpload copies the rest of the body in the background.
func (s *server) startUpload() {
	u := &s.upload
	u.running, u.bytes, u.err = true, 0, nil
	u.done = make(chan struct{})
	u.read.Store(false)
	u.broken.Store(false)
	_ = s.SetReadDeadline(time.Time{})
	go s.runUpload()
}

func (s *server) runUpload() {
	u := &s.upload
	defer close(u.done)
	defer s.uploadBug()
	buf := buffers.GetLarge()
	defer buffers.Put(buf)
	for {
		piece, n, err := http1.ReadPiece(buf, &s.body, s.req.Body.Kind)
		u.bytes += int64(n)
		if err != nil && err != io.EOF {
			u.err = err
			if !timeout(err) { // a timeout is stopUpload's
				s.breakUpload()
			}
			return
		}
		now := time.Now()
		s.watch.moved(now)
		if s.body.Done() {
			if err == nil && s.req.Body.Kind == http1.Chunked {
				piece = http1.AppendLastChunk(piece, &s.body.Trailer)
				err = io.EOF
			}
			s.watch.receivedAt.Store(now.UnixNano())
			u.read.Store(true)
		}
		if len(piece) > 0 {
			if _, werr := s.up.Write(piece); werr != nil {
				u.err = werr // the server does not want more; what it answers is read by the other side
				return
			}
			s.watch.moved(time.Now())
		}
		if err == io.EOF || s.body.Done() {
			return
		}
	}
}

// breakUpload wakes who waits for the response: there will be no more of the request.
func (s *server) breakUpload() {
	s.upload.broken.Store(true)
	_ = s.up.SetReadDeadline(time.Unix(1, 0))
}

// uploadBug keeps a panic for the connection's own goroutine, where it ends this connection alone.
func (s *server) uploadBug() {
	if v := recover(); v != nil {
		s.upload.bug = fmt.Sprintf("upload: %v\n%s", v, debug.Stack())
		s.breakUpload()
	}
}

// wait returns when the goroutine has ended.
func (u *upload) wait() {
	<-u.done
	u.running = false
	if u.bug != "" {
		panic(u.bug)
	}
}

// stopUpload ends the goroutine, if there is one, and tells how much of the body it has taken.
func (s *server) stopUpload() int64 {
	u := &s.upload
	if !u.running {
		return 0
	}
	past := time.Unix(1, 0)
	_ = s.SetReadDeadline(past)
	if s.up != nil {
		_ = s.up.SetWriteDeadline(past)
	}
	u.wait()
	return u.bytes
}

// uploaded tells whether the request's body was read to its end.
func (s *server) uploaded() bool { return s.whole || s.upload.read.Load() }
