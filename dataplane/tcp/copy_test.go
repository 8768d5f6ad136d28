package tcp

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
	"github.com/hauberk-mesh/hauberk/internal/memconn"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

func TestMain(m *testing.M) { leak.Main(m) }

// piped returns a client and a server with a running Pipe between them.
func piped(p *Pipe) (client, server *memconn.Conn, ended chan error, side *Side) {
	a := &net.TCPAddr{}
	client, down := memconn.Pair(a, a)
	server, up := memconn.Pair(a, a)
	p.Down, p.Up = down, up
	ended, side = make(chan error, 1), new(Side)
	go func() {
		s, err := p.Run()
		*side = s
		down.Close()
		up.Close()
		ended <- err
	}()
	return client, server, ended, side
}

func TestPipe(t *testing.T) {
	for _, tc := range []struct {
		name string
		pipe *Pipe
		do   func(client, server *memconn.Conn)
		side Side
		err  error // nil is any, with a side
		ok   bool
		took time.Duration
	}{
		{"both end", &Pipe{Idle: time.Minute}, func(c, s *memconn.Conn) {
			_, _ = c.Write([]byte("request"))
			_ = c.CloseWrite()
			_, _ = io.ReadAll(s)
			time.Sleep(time.Second)
			_, _ = s.Write([]byte("answer"))
			_ = s.CloseWrite()
		}, Neither, nil, true, time.Second},
		{"idle", &Pipe{Idle: time.Minute}, func(c, s *memconn.Conn) { time.Sleep(30 * time.Second); _, _ = c.Write([]byte("x")) },
			Neither, ErrIdle, false, 90 * time.Second},
		{"half-closed and idle", &Pipe{Idle: time.Minute}, func(c, s *memconn.Conn) { _ = c.CloseWrite() }, Neither, ErrIdle, false, time.Minute},
		{"deadline", &Pipe{Idle: time.Minute, Deadline: time.Now().Add(time.Hour)}, nil, Neither, ErrTooLong, false, 0},
		{"client resets", &Pipe{}, func(c, s *memconn.Conn) { sock.Reset(c) }, Downstream, nil, false, 0},
		{"server resets", &Pipe{}, func(c, s *memconn.Conn) { sock.Reset(s) }, Upstream, nil, false, 0},
		{"server takes nothing", &Pipe{Idle: time.Minute}, func(c, s *memconn.Conn) { _, _ = c.Write(make([]byte, 200<<10)) }, Neither, ErrIdle, false, time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				if !tc.pipe.Deadline.IsZero() {
					tc.pipe.Deadline = began.Add(10 * time.Second)
					tc.took = 10 * time.Second
				}
				client, server, ended, side := piped(tc.pipe)
				if tc.do != nil {
					go tc.do(client, server)
				}
				err := <-ended
				if (err == nil) != tc.ok || tc.err != nil && !errors.Is(err, tc.err) || *side != tc.side || time.Since(began) != tc.took {
					t.Errorf("side %d, %v after %s", *side, err, time.Since(began))
				}
				client.Close()
				server.Close()
			})
		})
	}
}
