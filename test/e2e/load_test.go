package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// load sends requests at a steady rate whatever the answers do (open loop), until its context ends.
type load struct {
	url        string
	newConn    bool // a new connection for each request
	perSecond  int
	onAnswer   func(answer) // called from many goroutines; nil is no call
	mu         sync.Mutex
	sent       int
	unexpected []answer // not 200
	byApp      map[string]int
}

// answer is what one request came to.
type answer struct {
	at     time.Time // when it was sent
	status int       // 0: no answer
	app    string
	reason string // x-hauberk-reason, or the error
}

func (a answer) String() string {
	return fmt.Sprintf("%s %d %s", a.at.Format("15:04:05.000"), a.status, a.reason)
}

// run sends until ctx ends, then waits for the answers.
func (l *load) run(ctx context.Context) {
	l.byApp = map[string]int{}
	transport := &http.Transport{DisableKeepAlives: l.newConn, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	ticks := time.NewTicker(time.Second / time.Duration(l.perSecond))
	defer ticks.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			wg.Go(func() { l.note(request(client, l.url)) })
		}
	}
}

func request(client *http.Client, url string) answer {
	a := answer{at: time.Now()}
	resp, err := client.Get(url)
	if err != nil {
		a.reason = err.Error()
		return a
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		a.reason = "body: " + err.Error()
		return a
	}
	a.status, a.app, a.reason = resp.StatusCode, resp.Header.Get("x-app"), resp.Header.Get("x-hauberk-reason")
	return a
}

func (l *load) note(a answer) {
	l.mu.Lock()
	l.sent++
	l.byApp[a.app]++
	if a.status != http.StatusOK {
		l.unexpected = append(l.unexpected, a)
	}
	l.mu.Unlock()
	if l.onAnswer != nil {
		l.onAnswer(a)
	}
}

// allGood fails the test unless every answer was 200 and about as many were sent as the rate asks for.
func (l *load) allGood(t *testing.T, atLeast int) {
	t.Helper()
	if l.sent < atLeast {
		t.Errorf("%s: only %d requests were sent, want at least %d: the machine did not keep up", l.url, l.sent, atLeast)
	}
	for i, a := range l.unexpected {
		if i == 10 {
			t.Errorf("... and %d more", len(l.unexpected)-10)
			break
		}
		t.Errorf("%s: %v", l.url, a)
	}
	t.Logf("%s: %d requests, %d not 200, by application %v", l.url, l.sent, len(l.unexpected), l.byApp)
}
