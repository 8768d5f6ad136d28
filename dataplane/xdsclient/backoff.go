package xdsclient

import (
	"context"
	"math/rand/v2"
	"time"
)

// The first and the longest wait between two attempts.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 5 * time.Second
)

// backoff doubles from first to max, each wait jittered to between half and all of it, so that a fleet which lost its
// control plane at one moment does not come back at one moment.
type backoff struct {
	next time.Duration
}

func newBackoff() *backoff { return &backoff{next: backoffFirst} }

func (b *backoff) reset() { b.next = backoffFirst }

// step returns the next wait.
func (b *backoff) step() time.Duration {
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, backoffMax)
	return d
}

// sleep waits; false means that ctx ended first.
func (b *backoff) sleep(ctx context.Context) bool {
	t := time.NewTimer(b.step())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
