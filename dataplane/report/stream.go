package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	reportv1 "github.com/hauberk-mesh/hauberk/wire/report/v1"
)

// session is one stream to the control plane. Three goroutines serve it: gather puts messages into the queue, send takes
// them out and may wait for the wire, receive takes questions in.
type session struct {
	client    *Client
	wire      grpc.BidiStreamingClient[reportv1.ProxyMessage, reportv1.ControlMessage]
	queue     chan *reportv1.ProxyMessage // gather writes and closes it
	questions chan *reportv1.DecisionsQuery
}

// stream is one connection from dial to end. left tells that the proxy has taken its leave.
func (c *Client) stream(ctx context.Context) (left bool, err error) {
	conn, err := c.opts.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("dial control plane: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wire, err := reportv1.NewReportServiceClient(conn).Report(ctx)
	if err != nil {
		return false, fmt.Errorf("open report stream: %w", err)
	}
	s := &session{
		client: c, wire: wire,
		queue: make(chan *reportv1.ProxyMessage, queueSize), questions: make(chan *reportv1.DecisionsQuery, 8),
	}
	received, sent := make(chan error, 1), make(chan error, 1)
	go func() { received <- s.receive() }()
	go func() { sent <- s.send() }()

	c.connected.Store(true)
	told, err := s.gather(ctx, received)
	c.connected.Store(false)
	close(s.queue)
	if told != nil {
		select {
		case err = <-received:
		case <-time.After(leaveWithin):
			err = context.DeadlineExceeded
		}
		if errors.Is(err, io.EOF) {
			err = nil // the control plane has taken all and hung up: that is the confirmation
		}
		told <- err
		cancel()
		<-sent
		return true, nil
	}
	cancel() // ends a send that waits, and the receive
	<-sent
	return false, err
}

// gather puts together what is to be told, until the stream ends or the proxy leaves: then told is where to say so.
func (s *session) gather(ctx context.Context, received chan error) (told chan error, err error) {
	c := s.client
	tick := time.NewTicker(edgesEvery)
	defer tick.Stop()
	var refusals <-chan telemetry.Decision
	if c.opts.Refusals != nil {
		refusals = c.opts.Refusals.C()
	}
	late := !s.putState() // it found the queue full: traffic depends on readiness, so it is tried again
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-received:
			received <- err // it stays to be found
			return nil, fmt.Errorf("report stream: %w", err)
		case <-tick.C:
			s.putEdges()
			if late {
				late = !s.putState()
			}
		case d := <-refusals:
			s.put(&reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Refusal{Refusal: toWire(&d)}})
		case <-c.changed:
			late = !s.putState()
		case q := <-s.questions:
			s.put(c.answer(q))
		case told := <-c.leave:
			s.putLeaving(ctx)
			return told, nil
		}
	}
}

// put queues a message, or drops and counts it: it never waits.
func (s *session) put(m *reportv1.ProxyMessage) {
	select {
	case s.queue <- m:
	default:
		s.client.dropped.Add(1)
		s.client.total.Add(1)
	}
}

// putEdges takes the counters only if there is room, so that a slow stream delays counts and loses none.
func (s *session) putEdges() {
	if s.client.opts.Edges == nil || len(s.queue) == cap(s.queue) {
		return
	}
	if counts := s.client.opts.Edges.Swap(); len(counts) > 0 {
		s.put(&reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Edges{Edges: edgesToWire(counts)}})
	}
}

// putState queues what is true until it changes: readiness, and the key provider where there is one to tell of.
func (s *session) putState() bool {
	for _, m := range []*reportv1.ProxyMessage{s.client.readiness(), s.client.keyProvider()} {
		if m == nil {
			continue
		}
		select {
		case s.queue <- m:
		default:
			return false
		}
	}
	return true
}

// putLeaving waits a moment for room, since it is the last word.
func (s *session) putLeaving(ctx context.Context) {
	s.putEdges()
	select {
	case s.queue <- &reportv1.ProxyMessage{Message: &reportv1.ProxyMessage_Leaving{Leaving: &reportv1.Leaving{}}}:
	case <-ctx.Done():
	case <-time.After(leaveWithin):
	}
}

// send writes what is queued until the queue is closed, then ends this side of the stream.
func (s *session) send() error {
	for m := range s.queue {
		m.Dropped = s.client.dropped.Swap(0)
		if r := s.client.opts.Refusals; r != nil {
			lost := r.TakeDropped()
			s.client.total.Add(lost)
			m.Dropped += lost
		}
		if err := s.wire.Send(m); err != nil {
			s.client.dropped.Add(m.Dropped + 1)
			s.client.total.Add(1)
			for range s.queue {
				s.client.dropped.Add(1)
				s.client.total.Add(1)
			}
			return err
		}
	}
	return s.wire.CloseSend()
}

// receive takes questions until the stream ends. More questions at once than there is room for are not answered: the
// control plane names who did not answer.
func (s *session) receive() error {
	for {
		m, err := s.wire.Recv()
		if err != nil {
			return err
		}
		if q := m.GetDecisions(); q != nil {
			select {
			case s.questions <- q:
			default:
			}
		}
	}
}
