package tls

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

var implementations = []struct {
	name           string
	client, server func(net.Conn, *tls.Config) secure
}{{"crypto-tls", plainClient, plainServer}, {"ours", ourClient, ourServer}}

// BenchmarkBulk copies in writes of one size; the reader has as much room.
func BenchmarkBulk(b *testing.B) {
	for _, size := range []int{16 << 10, 32 << 10, 128 << 10, 512 << 10} {
		for _, impl := range implementations {
			b.Run(strconv.Itoa(size>>10)+"K/"+impl.name, func(b *testing.B) {
				clientCfg, serverCfg := mutual(b)
				c, s := loopback(b)
				x, y := shaken(b, c, s, clientCfg, serverCfg, impl.client, impl.server)
				var wg sync.WaitGroup
				wg.Go(func() {
					buf := make([]byte, size)
					for {
						if _, err := y.Read(buf); err != nil {
							return
						}
					}
				})
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				defer cpu(b)()
				for b.Loop() {
					if _, err := x.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
				x.Close()
				wg.Wait()
				y.Close()
			})
		}
	}
}

// BenchmarkPingPong sends one short message to and fro.
func BenchmarkPingPong(b *testing.B) {
	for _, impl := range implementations {
		b.Run(impl.name, func(b *testing.B) {
			clientCfg, serverCfg := mutual(b)
			c, s := loopback(b)
			x, y := shaken(b, c, s, clientCfg, serverCfg, impl.client, impl.server)
			var wg sync.WaitGroup
			wg.Go(func() {
				buf := make([]byte, 16<<10)
				for {
					if w, ok := y.(*Conn); ok {
						_ = w.WaitReadable()
					}
					n, err := y.Read(buf)
					if err != nil {
						return
					}
					if _, err := y.Write(buf[:n]); err != nil {
						return
					}
				}
			})
			buf := make([]byte, 1024)
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if _, err := x.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(x, buf); err != nil {
					b.Fatal(err)
				}
			}
			x.Close()
			wg.Wait()
			y.Close()
		})
	}
}

// cpu reports the processor time of an operation, both ends: unlike its duration it is the same on a busy machine.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	begin := used()
	return func() { b.ReportMetric(float64(used()-begin)/float64(b.N), "cpu-ns/op") }
}

// idleBudget is what an idle pair may hold: both ends of crypto/tls's state with the peer's certificate, and one goroutine.
const idleBudget = 24 << 10

// TestIdleBytes: the server's goroutine, which shook hands and answered one request, keeps neither a buffer nor a grown stack.
func TestIdleBytes(t *testing.T) {
	if held := idle(t, 200, ourServer); held > idleBudget {
		t.Errorf("%d bytes an idle pair, want at most %d", held, idleBudget)
	} else {
		t.Logf("%d bytes an idle pair; with crypto/tls on the server's side %d", held, idle(t, 200, plainServer))
	}
}

// idle returns how many bytes each of n idle pairs holds. A goroutine serves the server's end.
func idle(t testing.TB, n int, server func(net.Conn, *tls.Config) secure) int {
	clientCfg, serverCfg := mutual(t)
	var open []net.Conn
	var wg sync.WaitGroup
	before := live()
	for range n {
		c, s := loopback(t)
		y := server(s, serverCfg)
		wg.Go(func() {
			if y.HandshakeContext(t.Context()) == nil {
				answer(y)
			}
		})
		x := tls.Client(c, clientCfg)
		if _, err := x.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(x, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		open = append(open, x, y)
	}
	held := (live() - before) / n
	for _, c := range open {
		_ = c.Close()
	}
	wg.Wait()
	return held
}

// answer sends back what comes, holding a buffer only meanwhile, if the connection lets it.
func answer(c net.Conn) {
	for {
		if err := sock.WaitReadable(c); err != nil && err != sock.ErrNotSupported {
			return
		}
		b := buffers.GetSmall()
		n, err := c.Read(b)
		if err == nil {
			_, err = c.Write(b[:n])
		}
		buffers.Put(b)
		if err != nil {
			return
		}
	}
}

func live() int {
	runtime.GC() // stacks shrink by half each time
	runtime.GC()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
