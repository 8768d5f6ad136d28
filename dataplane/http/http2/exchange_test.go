package http2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// open begins a request on cc.
func open(t *testing.T, cc *ClientConn, q *message.Request, end bool) *Stream {
	t.Helper()
	st, err := cc.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Request(q, end); err != nil {
		t.Fatal(err)
	}
	return st
}

func post() *message.Request {
	q := get("h", "/")
	q.Method, q.Length = "POST", message.Unknown
	return q
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		release := make(chan bool)
		serve(t, b, Options{StreamWindow: 1000, MaxWindow: 1000}, func(st *Stream) { <-release; echo(st) })
		cc := dial(t, a, Options{})
		synctest.Wait() // the settings have arrived
		st := open(t, cc, post(), false)
		defer st.Release()
		began := time.Now()
		_ = st.SetReadDeadline(began.Add(3 * time.Second))
		_ = st.SetWriteDeadline(began.Add(2 * time.Second))
		if err := st.Write(make([]byte, 1001)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Error(err, time.Since(began))
		}
		var m message.Response
		if err := st.Response(&m); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Error(err, time.Since(began))
		}
		if err := st.Response(&m); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a deadline that has passed stays so:", err)
		}
		// Nothing is lost, and a later deadline is a new chance.
		_ = st.SetReadDeadline(time.Now().Add(time.Hour))
		_ = st.SetWriteDeadline(time.Time{})
		close(release)
		if err := st.Response(&m); err != nil || m.Status != 200 {
			t.Fatal(m.Status, err)
		}
		if err := st.End(nil); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(io.Reader(st)); err != nil || len(got) != 1000 {
			t.Error(len(got), err)
		}
		// From outside, at once.
		st2 := open(t, cc, post(), false)
		defer st2.Release()
		go func() { time.Sleep(time.Second); _ = st2.SetReadDeadline(time.Unix(1, 0)) }()
		began = time.Now()
		_ = st2.Flush()
		_ = st2.Response(&m)
		if err := st2.Await(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Error(err, time.Since(began))
		}
	})
}

func TestCancel(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		ended, started := make(chan error, 1), make(chan bool, 2)
		serve(t, b, Options{}, func(st *Stream) {
			started <- true
			_, err := io.Copy(io.Discard, io.Reader(st))
			if !st.Gone() {
				t.Error("the client is gone, and the stream does not know")
			}
			ended <- err
		})
		cc := dial(t, a, Options{})
		st := open(t, cc, post(), false)
		_ = st.Write(make([]byte, 100_000))
		_ = st.Flush()
		st.Abort()
		if err := <-ended; !errors.Is(err, message.ErrCanceled) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		var m message.Response
		if err := st.Response(&m); err == nil || errors.Is(err, message.ErrUnprocessed) {
			t.Error(err)
		}
		st.Release()
		if n := cc.Streams(); n != 0 {
			t.Error(n)
		}
		// Release alone cancels too.
		st = open(t, cc, post(), false)
		_ = st.Flush()
		<-started
		<-started
		st.Release()
		if err := <-ended; !errors.Is(err, message.ErrCanceled) {
			t.Error(err)
		}
	})
}

func TestServerEndsEarly(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{}, func(st *Stream) {
		switch st.Head().Path {
		case "/refuse":
			st.Refuse()
		case "/abort":
			_ = st.Respond(&message.Response{Status: 200, Length: message.Unknown}, false)
			_ = st.Write([]byte("part"))
			_ = st.Flush()
			st.Abort()
		case "/early":
			_ = st.Respond(&message.Response{Status: 413, Length: 0}, true)
		}
	})
	cc := dial(t, a, Options{})
	var m message.Response
	for path, check := range map[string]func(st *Stream){
		"/refuse": func(st *Stream) {
			if err := st.Response(&m); !errors.Is(err, message.ErrUnprocessed) || st.Begun() {
				t.Error(err)
			}
		},
		"/abort": func(st *Stream) {
			if err := st.Response(&m); err != nil || !st.Begun() {
				t.Error(err)
			}
			got, err := io.ReadAll(io.Reader(st))
			if string(got) != "part" || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, message.ErrCanceled) {
				t.Errorf("%q %v", got, err)
			}
		},
		"/early": func(st *Stream) {
			if err := st.Response(&m); err != nil || m.Status != 413 || m.Length != 0 {
				t.Error(m, err)
			}
			if _, err := st.Read(make([]byte, 1)); err != io.EOF || !st.Done() {
				t.Error(err)
			}
			for { // until the reset arrives
				if err := st.Write(make([]byte, 10_000)); err != nil {
					break
				}
			}
		},
		"/silent": func(st *Stream) { // the handler returns and has said nothing
			if err := st.Response(&m); err == nil || errors.Is(err, message.ErrUnprocessed) || errors.Is(err, message.ErrCanceled) {
				t.Error(err)
			}
		},
	} {
		q := post()
		q.Path = path
		st := open(t, cc, q, false)
		_ = st.Flush()
		check(st)
		st.Release()
	}
}

func TestInterimAndTrailers(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{}, func(st *Stream) {
		if !st.Head().ExpectContinue {
			t.Error("no expectation")
		}
		_ = st.Respond(&message.Response{Status: 100}, false)
		if err := st.Await(); err != nil {
			t.Error(err)
		}
		m := message.Response{Status: 103}
		m.Header.Add("Link", "</a>")
		_ = st.Respond(&m, false)
		echo(st)
	})
	cc := dial(t, a, Options{})
	q := post()
	q.ExpectContinue = true
	st := open(t, cc, q, false)
	defer st.Release()
	_ = st.Flush()
	var m message.Response
	if err := st.Response(&m); err != nil || m.Status != 100 {
		t.Fatal(m.Status, err)
	}
	_ = st.Write([]byte("abc"))
	var trailer message.Header
	for _, name := range []string{"Sum", "Hauberk-Unprocessed", "x-hauberk-caller", "content-length", "Grpc-Status"} {
		trailer.Add(name, "1")
	}
	if err := st.End(&trailer); err != nil {
		t.Fatal(err)
	}
	if err := st.Response(&m); err != nil || m.Status != 103 || m.Header.Get("link") != "</a>" {
		t.Fatal(m, err)
	}
	if err := st.Response(&m); err != nil || m.Status != 200 || m.Header.Has("link") {
		t.Fatal(m, err)
	}
	if got, err := io.ReadAll(io.Reader(st)); string(got) != "abc" || err != nil {
		t.Error(string(got), err)
	}
	if got := fmt.Sprint(st.Trailer().Fields); got != "[{sum 1} {grpc-status 1}]" {
		t.Error(got)
	}
}

func TestTunnel(t *testing.T) {
	onBoth(t, func(t *testing.T, tcp bool) {
		a, b := pair(t, tcp)
		serve(t, b, Options{ExtendedConnect: true}, func(st *Stream) {
			q := st.Head()
			m := message.Response{Status: 101, Upgrade: q.Upgrade, Length: message.Absent}
			switch {
			case q.Method == "CONNECT":
				m = message.Response{Status: 200, Length: message.Absent}
			case q.Method != "GET" || q.Upgrade != "websocket" || q.Length != message.Absent:
				t.Errorf("%+v", q)
			case q.Path == "/ignorant": // an upstream that does not know websockets
				m.Status = 200
			}
			if err := st.Respond(&m, false); err != nil {
				t.Error(err)
			}
			c := st.Tunnel()
			defer c.Close()
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			_ = sock.CloseWrite(c)
		})
		cc := dial(t, a, Options{ExtendedConnect: true})
		for _, connect := range []bool{false, true} {
			q := get("h", "/chat")
			q.Upgrade = "websocket"
			if connect {
				q = &message.Request{Method: "CONNECT", Authority: "h:1", Length: message.Absent}
			}
			st := open(t, cc, q, false)
			_ = st.Flush()
			var m message.Response
			if err := st.Response(&m); err != nil || !connect && (m.Status != 101 || m.Upgrade != "websocket") || connect && m.Status != 200 {
				t.Fatal(m, err)
			}
			c := st.Tunnel()
			buf := make([]byte, 5)
			for range 3 {
				_, _ = c.Write([]byte("hello"))
				if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
					t.Fatal(string(buf), err)
				}
			}
			_ = sock.CloseWrite(c)
			if n, err := c.Read(buf); n != 0 || err != io.EOF {
				t.Error(n, err)
			}
			_ = c.Close()
			st.Release()
		}
		q := get("h", "/ignorant")
		q.Upgrade = "websocket"
		st := open(t, cc, q, false)
		defer st.Release()
		_ = st.Flush()
		var m message.Response
		if err := st.Response(&m); err != nil || m.Status != 502 {
			t.Error(m.Status, err)
		}
	})
}

func TestUpgradeNeedsAnnouncement(t *testing.T) {
	a, b := pair(t, false)
	serve(t, b, Options{}, echo)
	cc := dial(t, a, Options{ExtendedConnect: true})
	st, err := cc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Release()
	q := get("h", "/")
	q.Upgrade = "websocket"
	if err := st.Request(q, false); err != errNoConnect || !errors.Is(err, message.ErrUnprocessed) {
		t.Error(err)
	}
}
