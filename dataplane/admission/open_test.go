package admission

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// compute is what a handshake does with a processor.
func compute() {
	for began := time.Now(); time.Since(began) < 50*time.Microsecond; {
	}
}

// TestOpenConnectionsComeNext: with a hundred handshakes queueing for one processor, a connection that has something to read
// waits for no more of them than there are slots, a few times over. It counts handshakes, so that a slow machine changes
// nothing.
func TestOpenConnectionsComeNext(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const slots, crowd, rounds = 4, 100, 40
	here, there := pair(t)
	g := New(Options{Running: slots, Rate: 1 << 30})
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		done    int  // handshakes
		sentAt  int  // what done was when the byte was sent
		asked   bool // a byte is on its way
		waits   []int
		stopped bool
	)
	wg.Go(func() { // the open connection
		b := make([]byte, 1)
		for range rounds {
			if _, err := here.Read(b); err != nil {
				t.Error(err)
			}
			mu.Lock()
			waits = append(waits, done-sentAt)
			asked = false
			mu.Unlock()
		}
		mu.Lock()
		stopped = true
		mu.Unlock()
	})
	for range crowd {
		wg.Go(func() {
			for {
				ticket, err := g.Begin("l", netip.MustParseAddr("10.0.0.1"), time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := ticket.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				compute()
				mu.Lock()
				if done++; !asked && !stopped {
					asked, sentAt = true, done
					if _, err := there.Write([]byte{1}); err != nil {
						t.Error(err)
					}
				}
				over := stopped
				mu.Unlock()
				ticket.End()
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	worst := 0
	for _, n := range waits {
		worst = max(worst, n)
	}
	t.Log("handshakes that a byte waited for:", waits)
	if worst > 4*slots {
		t.Errorf("a byte waited for %d handshakes, there are %d slots", worst, slots)
	}
}

// pair is a connection over loopback.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}
