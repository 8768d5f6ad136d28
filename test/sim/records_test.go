package sim

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// records keeps what a proxy told of its requests and refused handshakes. The zero value is ready.
type records struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and replaced with each record
	all        []telemetry.Record
	handshakes []string
}

// Record implements telemetry.Recorder. Strings live only as long as the request, so they are cloned.
func (r *records) Record(in *telemetry.Record) {
	c := *in
	for _, s := range []*string{&c.Method, &c.Path, &c.OriginalPath, &c.Authority, &c.RequestID, &c.UserAgent, &c.ForwardedFor} {
		*s = strings.Clone(*s)
	}
	r.add(func() { r.all = append(r.all, c) })
}

// Opened implements telemetry.Recorder.
func (r *records) Opened(*telemetry.Record) {}

func (r *records) refusedHandshake(err error) {
	r.add(func() { r.handshakes = append(r.handshakes, err.Error()) })
}

func (r *records) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// await returns the newest record that holds, and waits for it: a record is written after the caller has its answer.
func (r *records) await(t *testing.T, holds func(*telemetry.Record) bool) (found telemetry.Record) {
	t.Helper()
	r.wait(t, "such record", func() bool {
		for i := len(r.all) - 1; i >= 0; i-- {
			if holds(&r.all[i]) {
				found = r.all[i]
				return true
			}
		}
		return false
	})
	return found
}

// awaitHandshake waits until a handshake was refused that showed this identity.
func (r *records) awaitHandshake(t *testing.T, id string) {
	t.Helper()
	r.wait(t, "refused handshake of "+id, func() bool {
		return slices.ContainsFunc(r.handshakes, func(reason string) bool { return strings.Contains(reason, id) })
	})
}

// wait returns when holds does, which is asked with mu held.
func (r *records) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		r.mu.Lock()
		if holds() {
			r.mu.Unlock()
			return
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed, n := r.changed, len(r.all)
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %s among %d records and %q", what, n, r.handshakes)
		}
	}
}
