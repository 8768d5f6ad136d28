package xdsclient

import (
	"context"
	"errors"
	"sync"
)

// pause is whether the client may hold a stream. The zero value says that it may.
type pause struct {
	mu     sync.Mutex    // guards below
	over   chan struct{} // closed by Resume; nil: there is no pause
	hangUp func()        // ends the stream that is open; nil: none is
	ended  chan struct{} // closed when it has ended
}

// Pause ends the stream and opens none until Resume: another process of the same proxy speaks for it meanwhile. It returns
// when the stream has ended and the Handler is not at work. What is in force stays.
func (c *Client) Pause() {
	p := &c.pause
	p.mu.Lock()
	if p.over == nil {
		p.over = make(chan struct{})
	}
	hangUp, ended := p.hangUp, p.ended
	p.mu.Unlock()
	if hangUp != nil {
		hangUp()
		<-ended
	}
}

// Resume ends a pause.
func (c *Client) Resume() {
	p := &c.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		close(p.over)
		p.over = nil
	}
}

// Paused tells whether there is a pause.
func (c *Client) Paused() bool {
	c.pause.mu.Lock()
	defer c.pause.mu.Unlock()
	return c.pause.over != nil
}

// Instance is by which name of a process the control plane knows this client.
func (c *Client) Instance() string { return c.opts.Instance }

// wait waits while there is a pause, and tells whether to go on.
func (p *pause) wait(ctx context.Context) bool {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// errPaused is the end of a stream that nobody is to hear of.
var errPaused = errors.New("paused")

// pausable is stream, which Pause can end.
func (c *Client) pausable(ctx context.Context) (heard bool, err error) {
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	ended := make(chan struct{})
	defer close(ended)
	p := &c.pause
	p.mu.Lock()
	p.hangUp, p.ended = hangUp, ended
	if p.over != nil {
		hangUp()
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.hangUp = nil
		p.mu.Unlock()
	}()
	if heard, err = c.stream(ctx); ctx.Err() != nil {
		err = errPaused
	}
	return heard, err
}

// quiet notes that there is no stream, and says nothing.
func (c *Client) quiet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setConnected(false)
}
