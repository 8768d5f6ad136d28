package xdsclient

import (
	"strings"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// TestPause: the stream ends before Pause returns, none is opened until Resume, the next one is of the same instance and
// tells what is in force, and nobody is alarmed.
func TestPause(t *testing.T) {
	ended := make(chan error, 1)
	connected := make(chan struct{}, 1)
	again := make(chan []*discovery.DeltaDiscoveryRequest, 1)
	b := run(t, func(o *Options) { o.Instance = "i-1" },
		func(s *side) error {
			s.hello()
			if err := s.wire.Send(response("3.1/1", TypeCluster, resource(TypeCluster, "a", "v1"))); err != nil {
				return err
			}
			s.recv()
			connected <- struct{}{}
			err := stay(s)
			ended <- err
			return err
		},
		func(s *side) error { again <- s.hello(); return stay(s) },
	)
	result(t, connected)
	b.client.Pause()
	b.client.Pause() // no more than once
	if !b.client.Paused() {
		t.Error("it says that it is not paused")
	}
	if result(t, ended) == nil {
		t.Error("the stream went on")
	}
	if st := b.client.Status(); st.Connected || st.Generation != 3 || st.Attempts != 1 {
		t.Errorf("while paused: %+v", st)
	}
	select {
	case <-again:
		t.Error("a stream was opened during the pause")
	default:
	}
	b.client.Resume()
	reqs := result(t, again)
	if got := reqs[0].Node.Metadata.Fields[MetadataInstance].GetStringValue(); got != "i-1" || b.client.Instance() != got {
		t.Errorf("instance %q, want that of before", got)
	}
	if reqs[0].InitialResourceVersions["a"] != "v1" {
		t.Errorf("what is in force was not told: %v", reqs[0])
	}
	if logs := b.logs.String(); strings.Contains(logs, "not reachable") {
		t.Errorf("a pause is no failure:\n%s", logs)
	}
}

// TestPauseWhileDialling: a client may be paused at any time, and ends while it is.
func TestPauseWhileDialling(t *testing.T) {
	b := run(t, nil) // a control plane that says nothing
	b.client.Pause()
	b.client.Resume()
	b.client.Resume()
	b.client.Pause() // the end of the test ends it
}
