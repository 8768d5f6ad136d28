package xdsclient

import (
	"context"
	"sync"
	"time"
)

// late keeps refusals back that say nothing new. A server of the state of the world takes a NACK for a request, and sends the
// same again at once; answered at once, the two would keep a processor busy for as long as the configuration is bad.
type late struct {
	refused map[string]refusal // by type
	newest  map[string]*news   // by type
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

type refusal struct {
	version, reason string
	backoff         *backoff
}

func newLate() *late {
	ctx, cancel := context.WithCancel(context.Background())
	return &late{refused: map[string]refusal{}, newest: map[string]*news{}, ctx: ctx, cancel: cancel}
}

// wait is how long to keep an answer back.
func (l *late) wait(n *news, err error) time.Duration {
	l.newest[n.typeURL] = n
	if err == nil {
		delete(l.refused, n.typeURL)
		return 0
	}
	before, again := l.refused[n.typeURL]
	if !again || before.version != n.version || before.reason != err.Error() {
		l.refused[n.typeURL] = refusal{version: n.version, reason: err.Error(), backoff: newBackoff()}
		return 0
	}
	return before.backoff.step()
}

// after calls f later, unless the stream has ended by then.
func (l *late) after(d time.Duration, f func()) {
	l.running.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-l.ctx.Done():
		}
	})
}

func (l *late) stop() {
	l.cancel()
	l.running.Wait()
}
