package handshake

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// clientTask is what the load generator is told first.
type clientTask struct {
	Curve  string
	Leaf   leaf   // empty: it proves nothing
	Server []byte // the certificate that servers must present, DER
}

// clientCommand starts clients, begins what is measured, or ends both.
type clientCommand struct {
	Do      string // start, begin, end
	Address string
	Clients int
}

// clientResult is what the clients have seen between begin and end.
type clientResult struct {
	Handshakes, Failed int64
	LastError          string
	P50ms, P99ms       float64
}

// generate is the load generator's process.
func generate(t *talk) error {
	var task clientTask
	if err := t.Decode(&task); err != nil {
		return err
	}
	config, closing, err := clientConfig(task)
	if err != nil {
		return err
	}
	defer closing()
	err = t.Encode(struct{}{})
	var now *load
	for err == nil {
		var c clientCommand
		if err = t.Decode(&c); err != nil {
			break
		}
		var answer any = struct{}{}
		switch {
		case c.Do == "start" && now == nil:
			now = &load{address: c.Address, config: config, something: make(chan struct{})}
			now.start(c.Clients)
		case c.Do == "begin" && now != nil:
			now.begin()
		case c.Do == "end" && now != nil:
			answer, now = now.end(), nil
		default:
			return fmt.Errorf("no command %q", c.Do)
		}
		err = t.Encode(answer)
	}
	if now != nil {
		now.end()
	}
	return err
}

// clientConfig believes one certificate alone. That is a full verification, and spares the client the signature of an
// authority, which is not what is measured. The client's own key is with the fastest provider: see newHome.
func clientConfig(task clientTask) (_ *tls.Config, closing func(), err error) {
	server, err := x509.ParseCertificate(task.Server)
	if err != nil {
		return nil, nil, fmt.Errorf("the server's certificate: %w", err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{curveID(task.Curve)}}
	c.RootCAs.AddCert(server)
	if task.Leaf.Key == nil {
		return c, func() {}, nil
	}
	certificate, key, err := task.Leaf.parse()
	if err != nil {
		return nil, nil, err
	}
	h, err := newHome(context.Background(), "batch", key)
	if err != nil {
		return nil, nil, err
	}
	c.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: crypto.PrivateKey(h.key), Leaf: certificate}}
	return c, h.close, nil
}

// load is one run of clients.
type load struct {
	address string
	config  *tls.Config
	dialer  net.Dialer

	measuring, stopping atomic.Bool
	workers             sync.WaitGroup
	something           chan struct{} // closed when there is a result, good or bad

	mu     sync.Mutex // guards below
	took   []time.Duration
	result clientResult
}

func (l *load) start(clients int) {
	l.dialer.KeepAlive = -1 // a system call less
	for range clients {
		l.workers.Go(l.work)
	}
}

func (l *load) begin() { l.measuring.Store(true) }

// end has all clients end. What was begun is waited for until there is something to tell.
func (l *load) end() clientResult {
	if l.measuring.Load() {
		select {
		case <-l.something:
		case <-time.After(patience):
		}
	}
	l.measuring.Store(false)
	l.stopping.Store(true)
	l.workers.Wait()
	l.result.Handshakes = int64(len(l.took))
	if l.result.Handshakes > 0 {
		slices.Sort(l.took)
		l.result.P50ms, l.result.P99ms = quantile(l.took, 0.50), quantile(l.took, 0.99)
	}
	return l.result
}

// quantile is that of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
}

// work is one client: one handshake after the other. Those count that lie within what is measured.
func (l *load) work() {
	for !l.stopping.Load() {
		counts := l.measuring.Load()
		took, err := l.shake()
		if counts = counts && l.measuring.Load(); !counts && err == nil {
			continue
		}
		l.note(took, err)
		if err != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

func (l *load) note(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 && l.result.Failed == 0 {
		close(l.something)
	}
	if err != nil {
		l.result.Failed++
		l.result.LastError = err.Error()
		return
	}
	l.took = append(l.took, took)
}

// shake is one connection. It takes as long as the client has to wait until it may send; that the server is done, too, is known
// when it hangs up, and only then comes the next one.
func (l *load) shake() (time.Duration, error) {
	began := time.Now()
	raw, err := l.dialer.Dial("tcp", l.address)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	_ = raw.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports would run out
	_ = raw.SetDeadline(began.Add(patience))
	c := tls.Client(sock.Direct(raw), l.config)
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if s := c.ConnectionState(); s.DidResume || s.CurveID != l.config.CurvePreferences[0] || s.Version != tls.VersionTLS13 {
		return 0, fmt.Errorf("the handshake was not what is to be measured: %s, %s, resumed: %v",
			tls.VersionName(s.Version), s.CurveID, s.DidResume)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("the server did not hang up: %d bytes, %w", n, err)
	}
	return took, nil
}
