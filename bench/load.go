package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// loadMain is the client. It says one line when the warm-up is over, one when the time is, while it still goes on, and its
// result as JSON when all requests have ended.
func loadMain(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	mode := fs.String("mode", "http", "http, grpc, hold (open connections and do nothing), connect (a connection for each request), "+
		"or handshake (without any request)")
	address, path := fs.String("addr", "", "host:port"), fs.String("path", "/", "of HTTP requests")
	n, rate := fs.Int("connections", 64, "connections, or gRPC calls in flight"), fs.Float64("rate", 0, "requests a second; 0: as many as are answered")
	warm, measured := fs.Duration("warm", time.Second, "warm-up"), fs.Duration("measured", time.Second, "measured time")
	kind, dir := fs.String("tls", "", "the server's kind of key: ec or rsa (default: no TLS)"), fs.String("dir", "", "of the certificates")
	certified := fs.Bool("certified", false, "prove who we are")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var config *tls.Config
	if *kind != "" {
		var closing func()
		var err error
		if config, closing, err = clientTLS(*dir, *kind, *certified); err != nil {
			return err
		}
		defer closing()
	}
	connect := func(worker int) (request, error) {
		c, err := dialHTTP(worker, *address, *path, config)
		if err != nil {
			return nil, err
		}
		return c.get, nil
	}
	switch *mode {
	case "hold":
		return hold(*n, *measured, connect, out)
	case "connect", "handshake":
		connect = newConnections(*address, *path, config, *mode == "handshake")
	case "grpc":
		var err error
		if connect, err = grpcCalls(*address); err != nil {
			return err
		}
	}
	begin := time.Now().Add(*warm)
	l := &load{rate: *rate / float64(*n), begin: begin, end: begin.Add(*measured), connect: connect}
	return l.run(*n, out)
}

// request sends one request and waits for its answer of so many bytes.
type request func() (bytes int64, err error)

// load is what all workers have done between begin and end.
type load struct {
	rate       float64 // of one worker; 0: closed loop
	begin, end time.Time
	connect    func(worker int) (request, error)

	mu        sync.Mutex // guards below
	latencies []time.Duration
	bytes     float64
	requests  float64 // of one that was under way at an end, the part within
	errors    int
	lastError error
}

func (l *load) run(n int, out io.Writer) error {
	var workers sync.WaitGroup
	for i := range n {
		workers.Go(func() { l.work(i, n) })
	}
	time.Sleep(time.Until(l.begin))
	fmt.Fprintln(out, "measuring")
	time.Sleep(time.Until(l.end))
	fmt.Fprintln(out, "measured")
	workers.Wait()
	if len(l.latencies) == 0 {
		return fmt.Errorf("no request succeeded: %v", l.lastError)
	}
	if l.errors > 0 {
		fmt.Fprintf(os.Stderr, "%d requests failed, the last one: %v\n", l.errors, l.lastError)
	}
	slices.Sort(l.latencies)
	quantile := func(q float64) float64 {
		return float64(l.latencies[int(q*float64(len(l.latencies)-1))]) / float64(time.Microsecond)
	}
	seconds := l.end.Sub(l.begin).Seconds()
	err := json.NewEncoder(out).Encode(metrics{
		"requests": l.requests, "bytes": l.bytes, "errors": float64(l.errors),
		"requestsPerSecond": l.requests / seconds, "megabytesPerSecond": l.bytes / seconds / 1e6,
		"p50Micros": quantile(0.5), "p90Micros": quantile(0.9), "p99Micros": quantile(0.99), "p999Micros": quantile(0.999),
	})
	time.Sleep(time.Second) // our own processor time is read meanwhile
	return err
}

// work is one worker's: one request after the other. With a rate each has a time when it is due, from which its latency
// counts even if the answer before it came too late to send it then: else a slow proxy would be asked less.
func (l *load) work(i, n int) {
	var step time.Duration
	due := time.Now()
	if l.rate > 0 {
		step = time.Duration(float64(time.Second) / l.rate)
		due = due.Add(step * time.Duration(i) / time.Duration(n))
	}
	var send request
	for {
		if l.rate == 0 {
			due = time.Now()
		}
		time.Sleep(time.Until(due))
		if l.over(time.Now()) {
			return
		}
		var got int64
		var err error
		if send == nil {
			send, err = l.connect(i)
		}
		if err == nil {
			got, err = send()
		}
		l.note(due, time.Now(), got, err)
		if err != nil {
			send = nil
			time.Sleep(time.Millisecond)
		}
		due = due.Add(step)
	}
}

// firstAnswer is how long the first success may take: 100 MB through a binary with the race detector, on a busy machine.
const firstAnswer = time.Minute

// over tells whether the time is: a machine that is busy with something else is waited for until one request has succeeded.
func (l *load) over(now time.Time) bool {
	if !now.After(l.end) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.latencies) > 0 || now.After(l.end.Add(firstAnswer))
}

// note counts what lies in the measured time; of a request at its edge, and of its body, the part that does. Latencies are of
// those that lie in it as a whole.
func (l *load) note(began, ended time.Time, got int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errors++
		l.lastError = err
		return
	}
	within := max(0, earlier(ended, l.end).Sub(later(began, l.begin)))
	part := float64(within) / float64(max(1, ended.Sub(began)))
	l.requests += part
	l.bytes += float64(got) * part
	if !began.Before(l.begin) && (!ended.After(l.end) || len(l.latencies) == 0) {
		l.latencies = append(l.latencies, ended.Sub(began))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hold opens n connections, sends one request on each, and keeps them.
func hold(n int, settle time.Duration, connect func(int) (request, error), out io.Writer) error {
	const dialers = 8
	kept := make([]request, n)
	ended := make(chan error, dialers)
	for d := range dialers {
		go func() {
			var err error
			for i := d; i < n && err == nil; i += dialers {
				if kept[i], err = connect(i); err == nil {
					_, err = kept[i]()
				}
			}
			ended <- err
		}()
	}
	for range dialers {
		if err := <-ended; err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "open")
	time.Sleep(settle)
	fmt.Fprintln(out, "{}")
	time.Sleep(time.Minute) // until we are stopped
	for _, k := range kept {
		_, _ = k()
	}
	return nil
}

// httpClient is one HTTP/1.1 connection, as cheap as can be.
type httpClient struct {
	net.Conn
	r       *bufio.Reader
	request []byte
}

// dialHTTP connects from an address that others of a hundred workers don't have, or short connections would run out of ports.
func dialHTTP(worker int, address, path string, config *tls.Config) (*httpClient, error) {
	d := net.Dialer{Timeout: 5 * time.Second, KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+worker%100))}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	if config != nil {
		c = tls.Client(c, config)
	}
	size := 2 << 10
	if path != "/" {
		size = 128 << 10
	}
	text := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	return &httpClient{c, bufio.NewReaderSize(c, size), []byte(text)}, nil
}

// newConnections makes a connection for each request, or for none: then what is asked for is the handshake.
func newConnections(address, path string, config *tls.Config, bare bool) func(int) (request, error) {
	return func(worker int) (request, error) {
		return func() (int64, error) {
			c, err := dialHTTP(worker, address, path, config)
			if err != nil {
				return 0, err
			}
			defer c.Close()
			if t, ok := c.Conn.(*tls.Conn); ok && bare {
				return 0, shake(t)
			}
			return c.get()
		}, nil
	}
}

// shake is over when the server has hung up: then it is through with the handshake, too.
func shake(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	if err := errors.Join(c.CloseWrite(), c.NetConn().(*net.TCPConn).CloseWrite()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, c.NetConn()) // by an alert, an end, or a reset: that differs
	return nil
}

func (c *httpClient) get() (int64, error) {
	if _, err := c.Write(c.request); err != nil {
		return 0, err
	}
	size := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			rest, _ := c.r.Peek(c.r.Buffered()) // the headers, and a word on why
			return 0, fmt.Errorf("answer %q %q", line, rest)
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if size < 0 {
		return 0, errors.New("an answer without a length")
	}
	n, err := c.r.Discard(size)
	return int64(n), err
}

// grpcCalls shares four connections among the workers.
func grpcCalls(address string) (func(int) (request, error), error) {
	var connections [4]*grpc.ClientConn
	for i := range connections {
		var err error
		connections[i], err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
		if err != nil {
			return nil, err
		}
	}
	message := wrapperspb.Bytes(make([]byte, 128))
	return func(worker int) (request, error) {
		c := connections[worker%len(connections)]
		return func() (int64, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			echo := &wrapperspb.BytesValue{}
			if err := c.Invoke(ctx, "/bench.Echo/Call", message, echo); err != nil {
				return 0, err
			}
			if len(echo.Value) != len(message.Value) {
				return 0, fmt.Errorf("%d bytes came back of %d", len(echo.Value), len(message.Value))
			}
			return int64(len(echo.Value)), nil
		}, nil
	}, nil
}
