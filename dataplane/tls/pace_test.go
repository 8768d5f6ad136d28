package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// turns lets a test see when a handshake computes.
type turns struct {
	mu      sync.Mutex // guards below
	has     bool
	resumed int
	queued  bool
	refuse  error
	changed chan struct{} // sent to at each change
}

func newTurns() *turns { return &turns{changed: make(chan struct{}, 100)} }

func (s *turns) Resume(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return false, s.refuse
	}
	s.has = true
	s.resumed++
	s.changed <- struct{}{}
	return s.queued, nil
}

func (s *turns) Yield() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has = false
	s.changed <- struct{}{}
}

func (s *turns) state() (resumed int, has bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed, s.has
}

// onEach runs f over sockets and in memory.
func onEach(t *testing.T, f func(t *testing.T, client, server net.Conn)) {
	for name, pair := range map[string]func(testing.TB) (net.Conn, net.Conn){"sockets": loopback, "memory": inMemory} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t)
			defer c.Close()
			defer s.Close()
			f(t, c, s)
		})
	}
}

// TestTurns: a handshake has none before the client's first byte, none while it waits for the client's answer, and none at the
// end. Afterwards the connection needs none.
func TestTurns(t *testing.T) {
	onEach(t, func(t *testing.T, c, s net.Conn) {
		client, server := mutual(t)
		turn := newTurns()
		conn := NewServer(s, server)
		end := make(chan error, 1)
		go func() { end <- conn.HandshakeInTurns(t.Context(), turn) }()
		<-turn.changed // it waits for the client
		if n, has := turn.state(); n != 0 || has {
			t.Errorf("before the hello: %d turns, has one %t", n, has)
		}
		held := &answering{Conn: c, hold: make(chan struct{})}
		shaken := make(chan error, 1)
		far := tls.Client(held, client)
		go func() { shaken <- far.Handshake() }()
		<-turn.changed // resumed
		<-turn.changed // it waits for the answer
		if n, has := turn.state(); n != 1 || has {
			t.Errorf("while the client is silent: %d turns, has one %t", n, has)
		}
		close(held.hold)
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		if err := <-end; err != nil {
			t.Fatal(err)
		}
		n, has := turn.state()
		if n < 2 || has {
			t.Errorf("at the end: %d turns, has one %t", n, has)
		}
		go func() { _, _ = far.Write([]byte("x")) }()
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if after, _ := turn.state(); after != n {
			t.Error("reading needs turns")
		}
	})
}

// answering writes its first message at once and the others when it may.
type answering struct {
	net.Conn
	wrote bool
	hold  chan struct{}
}

func (a *answering) Write(b []byte) (int, error) {
	if a.wrote {
		<-a.hold
	}
	a.wrote = true
	return a.Conn.Write(b)
}

// TestNoTurn: who refuses a turn ends the handshake, with that error; the end of a silent client needs no turn; and who queued
// for one while the client went away does not compute.
func TestNoTurn(t *testing.T) {
	refused := errors.New("not now")
	for name, c := range map[string]struct {
		refuse error
		queued bool
		hello  bool
		want   error
		turns  int
	}{
		"refused": {refuse: refused, hello: true, want: refused},
		"silent":  {want: io.EOF},
		"gone":    {queued: true, hello: true, want: io.EOF, turns: 1},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, near, s net.Conn) {
				_, server := mutual(t)
				asked := false
				server = server.Clone()
				get := server.GetCertificate
				server.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { asked = true; return get(h) }
				if c.hello {
					if _, err := near.Write([]byte{22, 3, 1, 0, 100, 1}); err != nil {
						t.Fatal(err)
					}
				}
				if c.queued || !c.hello {
					_ = near.Close()
				}
				turn := newTurns()
				turn.refuse, turn.queued = c.refuse, c.queued
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := NewServer(s, server).HandshakeInTurns(ctx, turn); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if n, has := turn.state(); n != c.turns || has || asked {
					t.Errorf("%d turns, has one %t, the key was asked for %t", n, has, asked)
				}
			})
		})
	}
}

// stuck takes nothing of what is written.
type stuck struct {
	net.Conn
	begun chan struct{}
	once  sync.Once
}

func (s *stuck) Write([]byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	_, err := s.Conn.Read(make([]byte, 1)) // until the test ends the connection
	return 0, errors.Join(errors.New("takes nothing"), err)
}

// A peer that takes nothing of the server's answer keeps no turn.
func TestNoTurnWhileItWrites(t *testing.T) {
	c, s := inMemory(t)
	defer c.Close()
	client, server := mutual(t)
	turn := newTurns()
	blocked := &stuck{Conn: s, begun: make(chan struct{})}
	conn := NewServer(s, server)
	conn.records.Conn = blocked
	end := make(chan error, 1)
	go func() { end <- conn.HandshakeInTurns(t.Context(), turn) }()
	far := make(chan error, 1)
	go func() { far <- tls.Client(c, client).Handshake() }()
	<-blocked.begun
	if n, has := turn.state(); n == 0 || has {
		t.Errorf("while it writes: %d turns, has one %t", n, has)
	}
	s.Close()
	if <-end == nil {
		t.Error("it ended well")
	}
	c.Close()
	<-far
}
