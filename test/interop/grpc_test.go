package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcServer is the suite's, but for what a test replaces.
type grpcServer struct {
	testgrpc.TestServiceServer
	empty  func(context.Context) error
	duplex func(testgrpc.TestService_FullDuplexCallServer) error
}

func (s *grpcServer) EmptyCall(ctx context.Context, in *testgrpc.Empty) (*testgrpc.Empty, error) {
	if s.empty == nil {
		return s.TestServiceServer.EmptyCall(ctx, in)
	}
	return &testgrpc.Empty{}, s.empty(ctx)
}

func (s *grpcServer) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	if s.duplex == nil {
		return s.TestServiceServer.FullDuplexCall(stream)
	}
	return s.duplex(stream)
}

// callGRPC runs a server behind a chain and returns a client of it, and the egress's address.
func callGRPC(t *testing.T, s *grpcServer, o ...grpc.ServerOption) (testgrpc.TestServiceClient, string) {
	t.Helper()
	s.TestServiceServer = interop.NewTestServer()
	addr, _ := newChain(t, links{server: serveGRPC(t, s, o...), h2: true})
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithMaxHeaderListSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return testgrpc.NewTestServiceClient(cc), addr
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestGRPCDeadline: the server is told the caller's deadline, and its context ends when the caller has given up.
func TestGRPCDeadline(t *testing.T) {
	left, ended := make(chan time.Duration, 1), make(chan struct{})
	tc, _ := callGRPC(t, &grpcServer{empty: func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			return status.Error(codes.FailedPrecondition, "no deadline came")
		}
		left <- time.Until(deadline)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(within(t), 300*time.Millisecond)
	defer cancel()
	_, err := tc.EmptyCall(ctx, &testgrpc.Empty{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("error %v, want a deadline exceeded", err)
	}
	if d := <-left; d <= 0 || d > 300*time.Millisecond {
		t.Errorf("the server had %v left of 300ms", d)
	}
	<-ended
}

// TestGRPCCancel: a call that the caller gives up ends at the server, while it is being answered and before.
func TestGRPCCancel(t *testing.T) {
	begun, ended := make(chan struct{}, 2), make(chan error, 2)
	wait := func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	tc, _ := callGRPC(t, &grpcServer{
		empty: wait,
		duplex: func(s testgrpc.TestService_FullDuplexCallServer) error {
			_ = s.SendHeader(metadata.Pairs("begun", "1"))
			return wait(s.Context())
		},
	})
	unary, cancel := context.WithCancel(within(t))
	answered := make(chan error, 1)
	go func() {
		_, err := tc.EmptyCall(unary, &testgrpc.Empty{})
		answered <- err
	}()
	<-begun
	cancel()
	if err := <-answered; status.Code(err) != codes.Canceled {
		t.Errorf("unary: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the server of the unary call: %v", err)
	}

	streaming, cancel := context.WithCancel(within(t))
	s, err := tc.FullDuplexCall(streaming)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	<-begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the server of the stream: %v", err)
	}
}

// TestGRPCStatus: each code, its message in any script, its details and its trailers come back as they were sent.
func TestGRPCStatus(t *testing.T) {
	var answer *status.Status
	tc, _ := callGRPC(t, &grpcServer{empty: func(ctx context.Context) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "a", "x-trailer", "b", "x-bytes-bin", "\x00\xff"))
		return answer.Err()
	}})
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		var err error
		answer, err = status.New(code, "naïve 界 % \t\n done").WithDetails(&errdetails.ErrorInfo{Reason: strings.Repeat("r", 3000), Domain: code.String()})
		if err != nil {
			t.Fatal(err)
		}
		var trailer metadata.MD
		_, err = tc.EmptyCall(within(t), &testgrpc.Empty{}, grpc.Trailer(&trailer))
		got := status.Convert(err)
		if got.Code() != code || got.Message() != answer.Message() {
			t.Errorf("%v: got %v %q", code, got.Code(), got.Message())
		}
		if d := got.Details(); len(d) != 1 || d[0].(*errdetails.ErrorInfo).GetDomain() != code.String() {
			t.Errorf("%v: details %v", code, d)
		}
		if strings.Join(trailer["x-trailer"], ",") != "a,b" || strings.Join(trailer["x-bytes-bin"], "") != "\x00\xff" {
			t.Errorf("%v: trailer %v", code, trailer)
		}
	}
}

// TestGRPCTrailersOnly: an answer that is one HEADERS frame arrives as one, which a client may tell from an empty answer.
func TestGRPCTrailersOnly(t *testing.T) {
	_, addr := callGRPC(t, &grpcServer{empty: func(context.Context) error { return status.Error(codes.NotFound, "none") }})
	s := dialH2(t, addr, nil).open(false, field{":method", "POST"}, field{":scheme", "http"}, field{":path", "/grpc.testing.TestService/EmptyCall"},
		field{":authority", "server"}, field{"content-type", "application/grpc"}, field{"te", "trailers"})
	if _, err := s.Write(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	s.end()
	if got := s.over(t); got != "200" || len(s.heads) != 1 || s.get(0, "grpc-status") != "5" || s.get(0, "grpc-message") != "none" {
		t.Errorf("status %s, %d header blocks: %v", got, len(s.heads), s.heads)
	}
}

// TestGRPCMetadata: 24 KB of it both ways, in many fields and in large ones.
func TestGRPCMetadata(t *testing.T) {
	sent := metadata.MD{}
	for i := range 40 {
		sent.Append("x-many", strings.Repeat(string(rune('a'+i%26)), 100))
	}
	for range 4 {
		sent.Append("x-large-bin", strings.Repeat("\x00\xfe", 2048))
	}
	tc, _ := callGRPC(t, &grpcServer{empty: func(ctx context.Context) error {
		in, _ := metadata.FromIncomingContext(ctx)
		back := metadata.MD{"x-many": in["x-many"], "x-large-bin": in["x-large-bin"]}
		if err := grpc.SendHeader(ctx, back); err != nil {
			return err
		}
		return grpc.SetTrailer(ctx, back)
	}})
	var header, trailer metadata.MD
	if _, err := tc.EmptyCall(metadata.NewOutgoingContext(within(t), sent), &testgrpc.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	for where, got := range map[string]metadata.MD{"header": header, "trailer": trailer} {
		for name, want := range sent {
			if strings.Join(got[name], ",") != strings.Join(want, ",") {
				t.Errorf("%s %s: %d values came back, want %d", where, name, len(got[name]), len(want))
			}
		}
	}
}

// TestGRPCFlowControl: a reader that stops is waited for, keeps no other call waiting, and then gets everything.
func TestGRPCFlowControl(t *testing.T) {
	const messages, size = 200, 256 << 10 // 50 MB: more than all windows and socket buffers of the way together
	sent := make(chan int, messages)
	tc, _ := callGRPC(t, &grpcServer{duplex: func(s testgrpc.TestService_FullDuplexCallServer) error {
		for i := range messages {
			if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: bytes.Repeat([]byte{byte(i)}, size)}}); err != nil {
				return err
			}
			sent <- i
		}
		in, err := s.Recv()
		if err == nil {
			err = s.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()})
		}
		return err
	}})
	s, err := tc.FullDuplexCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	<-sent // it is under way, and nobody reads
	for range 50 {
		if _, err := tc.UnaryCall(within(t), &testgrpc.SimpleRequest{ResponseSize: 100 << 10}); err != nil {
			t.Fatalf("a call beside a stream that is not read: %v", err)
		}
	}
	if n := len(sent); n == messages-1 {
		t.Error("the server could send 50 MB that nobody read")
	}
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte("hello")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		m, err := s.Recv()
		if err != nil || len(m.GetPayload().GetBody()) != size || m.GetPayload().GetBody()[size-1] != byte(i) {
			t.Fatalf("message %d: %d bytes, %v", i, len(m.GetPayload().GetBody()), err)
		}
	}
	if m, err := s.Recv(); err != nil || string(m.GetPayload().GetBody()) != "hello" {
		t.Errorf("the message back: %v, %v", m, err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// TestGRPCEarlyEnd: a server that answers in full and does not wait for the caller's end resets the stream with NO_ERROR. What
// it has said before is not lost, however slowly it is read (RFC 9113, 8.1).
func TestGRPCEarlyEnd(t *testing.T) {
	const messages, size = 16, 256 << 10
	ended := make(chan struct{})
	tc, _ := callGRPC(t, &grpcServer{duplex: func(s testgrpc.TestService_FullDuplexCallServer) error {
		defer close(ended)
		for range messages {
			if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, size)}}); err != nil {
				return err
			}
		}
		return status.Error(codes.ResourceExhausted, "that is all")
	}})
	s, err := tc.FullDuplexCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		if m, err := s.Recv(); err != nil || len(m.GetPayload().GetBody()) != size {
			t.Fatalf("message %d: %d bytes, %v", i, len(m.GetPayload().GetBody()), err)
		}
		if i == 0 {
			select { // the rest has to pass while this side waits, as far as windows let it
			case <-ended:
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	if _, err := s.Recv(); status.Convert(err).Message() != "that is all" {
		t.Errorf("the end: %v", err)
	}
}

// TestGRPCHalfClose: the caller ends its side first, and the answer still comes; the reverse ends the call.
func TestGRPCHalfClose(t *testing.T) {
	tc, _ := callGRPC(t, &grpcServer{duplex: func(s testgrpc.TestService_FullDuplexCallServer) error {
		n := 0
		for {
			if _, err := s.Recv(); errors.Is(err, io.EOF) {
				return s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: []byte{byte(n)}}})
			} else if err != nil {
				return err
			}
			n++
		}
	}})
	s, err := tc.FullDuplexCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || m.GetPayload().GetBody()[0] != 3 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestGRPCKeepalive: pings are answered on each connection of the way, so that a stream on which nothing happens lives on.
// A server of gRPC pings no sooner than after a second, and cuts who does not answer for another.
func TestGRPCKeepalive(t *testing.T) {
	tc, addr := callGRPC(t, &grpcServer{}, grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: time.Second}))
	s, err := tc.FullDuplexCall(within(t))
	if err != nil {
		t.Fatal(err)
	}
	echo := &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1}}}
	if err := s.Send(echo); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}

	// The egress answers a client's pings, with what they carry.
	c := dialH2(t, addr, nil)
	acked := make(chan struct{})
	c.update(func() {
		c.onPing = func(data [8]byte) {
			if data == [8]byte{1, 2, 3} {
				close(acked)
			}
		}
	})
	c.write(func() { _ = c.framer.WritePing(false, [8]byte{1, 2, 3}) })
	select {
	case <-acked:
	case <-time.After(20 * time.Second):
		t.Fatal("a ping was not answered")
	}

	time.Sleep(2500 * time.Millisecond) // two of the server's pings: real time is what this is about
	if err := s.Send(echo); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Errorf("after a silence: %v", err)
	}
}

// TestGRPCServerAway: a call that finds nobody fails as gRPC's clients expect it: UNAVAILABLE, in a response of gRPC.
func TestGRPCServerAway(t *testing.T) {
	addr, _ := newChain(t, links{server: nobody(t), h2: true})
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	_, err = testgrpc.NewTestServiceClient(cc).EmptyCall(within(t), &testgrpc.Empty{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want UNAVAILABLE", err)
	}
}

// TestGRPCGoAway: a server that is told to go ends what it has begun, and no call is lost on the way to another connection.
func TestGRPCGoAway(t *testing.T) {
	calls := make(chan struct{}, 1)
	tc, _ := callGRPC(t, &grpcServer{duplex: func(s testgrpc.TestService_FullDuplexCallServer) error {
		calls <- struct{}{}
		_, err := s.Recv()
		if err == nil {
			err = s.Send(&testgrpc.StreamingOutputCallResponse{})
		}
		return err
	}}, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Second, MaxConnectionAgeGrace: 20 * time.Second}))
	ctx := within(t)
	s, err := tc.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-calls
	// The server sends GOAWAY once its connection is a second old, and again on each further one.
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if _, err := tc.EmptyCall(ctx, &testgrpc.Empty{}); err != nil {
			t.Fatalf("a call failed while connections go: %v", err)
		}
	}
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Errorf("a stream that had begun before: %v", err)
	}
}
