package http2

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// ok answers any request with 128 bytes and trailers, as gRPC does.
func ok(st *Stream) {
	for !st.Done() {
		if st.Await() != nil {
			return
		}
		st.Take(st.Available())
	}
	m := response.Get().(*message.Response)
	defer response.Put(m)
	if st.Respond(m, false) != nil {
		return
	}
	room, err := st.Room()
	if err != nil {
		return
	}
	if st.Send(copy(room, payload[:])) == nil {
		_ = st.End(&grpcTrailer)
	}
}

var (
	payload     [128]byte
	grpcTrailer = message.Header{Fields: []message.Field{{Name: "grpc-status", Value: "0"}, {Name: "grpc-message", Value: ""}}}
	response    = sync.Pool{New: func() any {
		m := &message.Response{Status: 200, Length: message.Unknown}
		m.Header.Add("content-type", "application/grpc")
		return m
	}}
)

func grpcRequest() *message.Request {
	q := get("example.com:80", "/grpc.testing.TestService/UnaryCall")
	q.Method, q.Length, q.Trailers = "POST", message.Unknown, true
	q.Header.Add("content-type", "application/grpc")
	q.Header.Add("user-agent", "grpc-go/1.85.0")
	return q
}

// call makes one request with 128 bytes and reads the answer.
func call(cc *ClientConn, q *message.Request, m *message.Response) error {
	st, err := cc.Open()
	if err != nil {
		return err
	}
	defer st.Release()
	if err := st.Request(q, false); err != nil {
		return err
	}
	room, err := st.Room()
	if err != nil {
		return err
	}
	if err := st.Send(copy(room, payload[:])); err != nil {
		return err
	}
	if err := st.End(nil); err != nil {
		return err
	}
	if err := st.Response(m); err != nil {
		return err
	}
	for !st.Done() {
		if err := st.Await(); err != nil {
			return err
		}
		st.Take(st.Available())
	}
	if m.Status != 200 || st.Count() != 128 || st.Trailer().Get("grpc-status") != "0" {
		return fmt.Errorf("%d, %d bytes, %v", m.Status, st.Count(), st.Trailer())
	}
	return nil
}

func BenchmarkCall(b *testing.B) {
	for _, streams := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("tcp/streams=%d", streams), func(b *testing.B) {
			a, z := pair(b, true)
			serve(b, z, Options{}, ok)
			cc := dial(b, a, Options{})
			b.ReportAllocs()
			var wg sync.WaitGroup
			n := b.N / streams
			for range streams {
				wg.Go(func() {
					q, m := grpcRequest(), &message.Response{}
					for range n {
						if err := call(cc, q, m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	b.Run("tcp", func(b *testing.B) { a, z := pair(b, true); bulk(b, a, z) })
	b.Run("tls", func(b *testing.B) { a, z := tlsPair(b); bulk(b, a, z) })
}

func bulk(b *testing.B, a, z net.Conn) {
	const size = 64 << 20
	serve(b, z, Options{}, func(st *Stream) {
		if st.Respond(&message.Response{Status: 200, Length: size}, false) != nil {
			return
		}
		for left := size; left > 0; {
			room, err := st.Room()
			if err != nil {
				return
			}
			n := min(left, len(room))
			if st.Send(n) != nil {
				return
			}
			left -= n
		}
		_ = st.End(nil)
	})
	cc := dial(b, a, Options{})
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		st, err := cc.Open()
		if err != nil {
			b.Fatal(err)
		}
		var m message.Response
		if st.Request(get("h", "/"), true) != nil || st.Response(&m) != nil {
			b.Fatal("no response")
		}
		for st.Await() == nil && !st.Done() {
			for n := st.Available(); n > 0; n = st.Available() {
				st.Take(n)
			}
		}
		if st.Count() != size || st.Err() != nil && st.Err() != io.EOF {
			b.Fatal(st.Count(), st.Err())
		}
		st.Release()
	}
}

// TestNoAllocations: one small request and its response, both ends together.
func TestNoAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes sync.Pool forget")
	}
	a, z := pair(t, false)
	serve(t, z, Options{}, ok)
	cc := dial(t, a, Options{})
	q, m := grpcRequest(), &message.Response{}
	n := testing.AllocsPerRun(2000, func() {
		if err := call(cc, q, m); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 { // an average, rounded down: a garbage collection that empties the pools does not count
		t.Errorf("%v allocations for a request", n)
	}
}
