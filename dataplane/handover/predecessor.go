package handover

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Predecessor is the running process that this one takes over from.
type Predecessor struct {
	// Instance is by which name of a process the control plane knows the predecessor: with the same one this process takes
	// its place and is not refused as a second proxy of the name.
	Instance string

	control net.Conn
	answer  chan struct{} // closed when it has given the word, or is gone
}

// Inherit takes what a predecessor left in the environment. Without one the sockets are none and the Predecessor is nil. The
// sockets are closed to programs that this one executes, and belong to nobody else in this process.
func Inherit(getenv func(string) string) (*Sockets, *Predecessor, error) {
	sockets := NewSockets()
	text := getenv(Variable)
	if text == "" {
		sockets.Begin()
		return sockets, nil, nil
	}
	l, err := readLetter(text)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(l.Control), "handover")
	control, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return nil, nil, fmt.Errorf("$%s: control socket, file descriptor %d: %w", Variable, l.Control, err)
	}
	p := &Predecessor{Instance: l.Instance, control: control, answer: make(chan struct{})}
	if err := sockets.adopt(l.Sockets); err != nil {
		p.Failed(err)
		return nil, nil, err
	}
	go p.listen()
	return sockets, p, nil
}

// listen waits for the one word. The end of the predecessor, or of this side's socket, counts as one: whoever is asked to
// wait for a process that is gone would wait for ever.
func (p *Predecessor) listen() {
	defer close(p.answer)
	read := bufio.NewScanner(p.control)
	read.Buffer(make([]byte, maxLine), maxLine)
	for read.Scan() {
		if word, _ := words(read.Text()); word == wordGo {
			return
		}
	}
}

// TakeOver tells the predecessor when this process is ready and of which version it is, and until then why it is not. It
// returns nil when the predecessor has given the word or is gone; the caller then calls Sockets.Begin. The error is ctx's,
// and the caller then says Failed.
func (p *Predecessor) TakeOver(ctx context.Context, version string, unready func() []string) error {
	told := ""
	err := Ready(ctx, unready, p.answer, func(reason string) {
		if reason != told {
			told = reason
			_, _ = p.control.Write(line(wordWaiting, reason)) // the end of the other side is seen in listen
		}
	})
	if err != nil {
		return err
	}
	_, _ = p.control.Write(line(wordReady, version))
	select {
	case <-p.answer:
		return p.control.Close()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Failed tells the predecessor why this process ends without having taken over.
func (p *Predecessor) Failed(reason error) {
	_, _ = p.control.Write(line(wordFailed, reason.Error()))
	_ = p.control.Close()
}

// readyEvery is how often readiness is looked at: it has many parts, and none that tells when the last one came.
const readyEvery = 5 * time.Millisecond

// Ready returns nil once nothing is said against it, or enough is closed. waiting is called with the reasons.
func Ready(ctx context.Context, unready func() []string, enough <-chan struct{}, waiting func(reason string)) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		why := unready()
		if len(why) == 0 {
			return nil
		}
		waiting(strings.Join(why, "; "))
		select {
		case <-tick.C:
		case <-enough:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
