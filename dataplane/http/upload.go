package http

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A request's content that is not all here when the head is sent is copied by a goroutine of its own, because a server may
// answer before it has read it. There is one only for such requests.
type upload struct {
	running bool
	done    chan struct{} // closed when the goroutine has ended
	bytes   int64         // read by it; valid after done

	read   atomic.Bool // the whole content was read: set before its last piece is written
	broken atomic.Bool // the client failed, or its content is malformed
	err    error       // valid after done
	bug    string      // of the goroutine; valid after done
}

func (u *upload) reset() {
	u.running, u.done, u.bytes, u.err, u.bug = false, nil, 0, nil, ""
	u.read.Store(false)
	u.broken.Store(false)
}

// startUpload copies the rest of the content in the background.
func (x *exchange) startUpload() {
	x.upload.reset()
	x.upload.running, x.upload.done = true, make(chan struct{})
	_ = x.down.SetReadDeadline(time.Time{})
	go x.runUpload()
}

func (x *exchange) runUpload() {
	u := &x.upload
	defer close(u.done)
	defer x.uploadBug()
	for {
		if err := x.down.Await(); err != nil {
			x.uploadFailed(err)
			return
		}
		n, downErr, upErr := pass(x.up.Client, x.down)
		if u.bytes += int64(n); u.bytes > heavy {
			x.up.Heavy()
		}
		now := time.Now()
		x.watch.moved(now)
		switch {
		case upErr != nil:
			u.err = upErr // the server does not want more; what it answers is read by the other side
			return
		case downErr != nil && !timeout(downErr):
			continue // Await says it again
		case downErr != nil:
			x.uploadFailed(downErr)
			return
		}
		if !x.down.Done() {
			if u.err = x.up.Flush(); u.err != nil {
				return
			}
			continue
		}
		x.watch.receivedAt.Store(now.UnixNano())
		u.read.Store(true)
		if t := x.route.RequestTimeout; t > 0 && t < tick { // it begins now, and may end before the present tick
			x.wake()
		}
		u.err = x.up.End(x.down.Trailer())
		x.watch.moved(time.Now())
		return
	}
}

// uploadFailed notes that no more of the content comes. A timeout is stopUpload's.
func (x *exchange) uploadFailed(err error) {
	x.upload.err = err
	if !timeout(err) {
		x.breakUpload()
	}
}

// breakUpload wakes who waits for the response: there will be no more of the request.
func (x *exchange) breakUpload() {
	x.upload.broken.Store(true)
	x.wake()
}

// uploadBug keeps a panic for the exchange's own goroutine, where it ends this exchange alone.
func (x *exchange) uploadBug() {
	if v := recover(); v != nil {
		x.upload.bug = fmt.Sprintf("upload: %v\n%s", v, debug.Stack())
		x.breakUpload()
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

// stopUpload ends the goroutine, if there is one, and tells how much of the content it has taken.
func (x *exchange) stopUpload() int64 {
	u := &x.upload
	if !u.running {
		return 0
	}
	past := time.Unix(1, 0)
	_ = x.down.SetReadDeadline(past)
	if x.up.IsOpen() {
		_ = x.up.SetWriteDeadline(past)
	}
	u.wait()
	return u.bytes
}

// uploaded tells whether the request's content was read to its end.
func (x *exchange) uploaded() bool { return x.whole || x.upload.read.Load() }
