package report

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/leak"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

func TestMain(m *testing.M) { leak.Main(m) }

// The client against the real server is tested in controlplane/report.

func TestNewWantsDial(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no error")
	}
}

func TestTriesForEverAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		c, err := New(Options{Dial: func(context.Context) (*grpc.ClientConn, error) {
			attempts++
			return nil, errors.New("no route")
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := c.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run ended: %v", err)
		}
		if attempts < 120 || attempts > 260 { // every 2.5 to 5 s
			t.Errorf("%d attempts in ten minutes", attempts)
		}
	})
}

func TestLeavingWithoutAStreamDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Dial: func(context.Context) (*grpc.ClientConn, error) { return nil, errors.New("no route") }})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.Leaving(context.Background()); err == nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// Readiness never waits for anybody, stream or not, and only a change is told.
func TestReadiness(t *testing.T) {
	c, err := New(Options{Dial: func(context.Context) (*grpc.ClientConn, error) { return nil, errors.New("no route") }})
	if err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		select {
		case <-c.changed:
			return true
		default:
			return false
		}
	}
	for i, step := range []struct {
		ready  bool
		reason string
		want   bool
	}{{false, "refused", true}, {false, "refused", false}, {false, "timeout", true}, {true, "", true}, {true, "ignored", false}} {
		if c.SetReadiness("http", step.ready, step.reason); told() != step.want {
			t.Errorf("step %d: told %v", i, !step.want)
		}
	}
	c.SetReadiness("admin", true, "")
	if c.ForgetReadiness("http"); !told() {
		t.Error("forgetting is not told")
	}
	if r := c.readiness().GetReadiness(); len(r.Inbounds) != 1 || r.Inbounds[0].Name != "admin" {
		t.Errorf("readiness %v", r)
	}
}

// A request with any bytes in it makes a message that can be sent.
func TestAnythingCanBeSent(t *testing.T) {
	bad := "\xff\xfe"
	d := telemetry.Decision{
		Time: time.Now(), RequestID: bad, Source: bad, Destination: bad, SourceID: bad, DestinationID: bad, Protocol: bad, Method: bad,
		Path: bad, Status: -1, Flags: bad, Details: bad, Reason: bad, Policy: bad, Rule: bad, ShadowRule: bad, Route: bad,
		TransportFailure: bad, Attempts: -1, Upstream: netip.MustParseAddrPort("[::1]:80"),
	}
	for _, m := range []proto.Message{
		toWire(&d), toWire(&telemetry.Decision{}),
		edgesToWire([]telemetry.EdgeCount{{EdgeKey: telemetry.EdgeKey{Source: bad, Destination: bad, SourceID: bad, DestinationID: bad}}}),
	} {
		if _, err := proto.Marshal(m); err != nil {
			t.Error(err)
		}
	}
	if got := toWire(&d).Upstream; got != "[::1]:80" {
		t.Errorf("upstream %q", got)
	}
}

func TestFullQueueKeepsCounts(t *testing.T) {
	edges := telemetry.NewEdges()
	c := &Client{opts: Options{Edges: edges}, inbound: map[string]*reportv1.Readiness_Inbound{}}
	s := &session{client: c, queue: make(chan *reportv1.ProxyMessage, 1)}
	edges.Record(&telemetry.Record{Protocol: "HTTP/1.1", Status: 200, SourceService: "a", DestinationService: "b"})
	s.put(&reportv1.ProxyMessage{})
	s.putEdges()
	if s.putState() {
		t.Error("readiness went into a full queue")
	}
	if c.Dropped() != 0 {
		t.Error("counts that stay count as dropped")
	}
	s.put(&reportv1.ProxyMessage{})
	if c.Dropped() != 1 {
		t.Errorf("dropped %d", c.Dropped())
	}
	<-s.queue
	s.putEdges()
	if m := <-s.queue; len(m.GetEdges().GetEdges()) != 1 {
		t.Error("the counts are gone")
	}
}

// OK is 0, which must not look like a request that was no gRPC call.
func TestGRPCStatusOnTheWire(t *testing.T) {
	if w := toWire(&telemetry.Decision{GRPCStatus: telemetry.NoGRPCStatus}); w.GrpcStatus != nil {
		t.Errorf("no gRPC call has status %d", *w.GrpcStatus)
	}
	for _, code := range []int{0, 7} {
		if w := toWire(&telemetry.Decision{GRPCStatus: code}); w.GrpcStatus == nil || int(*w.GrpcStatus) != code {
			t.Errorf("status %v, want %d", w.GrpcStatus, code)
		}
	}
}
