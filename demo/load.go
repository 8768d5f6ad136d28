package demo

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// pagesPerSecond times five calls a page is what the mesh carries.
	pagesPerSecond = 40
	shoppers       = 4
	// refundsEvery is how often a shopper asks for what is refused.
	refundsEvery = 20
)

// load is the shoppers: they ask for pages at a steady rate, through their sidecar.
type load struct {
	url    string // of the frontend, on the shopper's sidecar
	client *http.Client

	mu       sync.Mutex // guards below
	pages    int
	failed   int
	firstBad string
	versions map[string]int // pages by the catalog's version
}

func newLoad(url string) *load {
	return &load{
		url: url, versions: map[string]int{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: shoppers}},
	}
}

// page is the part of an answer of the frontend that a shopper looks at.
type page struct {
	Got map[string]struct {
		Status int    `json:"status"`
		Reason string `json:"reason"`
		Body   struct {
			Version string `json:"version"`
		} `json:"body"`
	} `json:"got"`
}

// get asks for one page.
func (l *load) get(ctx context.Context, path string) (status int, p page, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		return 0, p, err
	}
	q.Host = frontend
	q.Header.Set("User-Agent", "shopper")
	resp, err := l.client.Do(q)
	if err != nil {
		return 0, p, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, p, err
	}
	if resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, &p)
	}
	return resp.StatusCode, p, err
}

// run shops until ctx ends.
func (l *load) run(ctx context.Context) {
	defer l.client.CloseIdleConnections()
	tick := time.NewTicker(time.Second / pagesPerSecond)
	defer tick.Stop()
	orders := make(chan string) // unbuffered: a slow shop is asked less, not later
	var wg sync.WaitGroup
	for range shoppers {
		wg.Go(func() {
			for path := range orders {
				l.shop(ctx, path)
			}
		})
	}
	for n := 1; ; n++ {
		path := "/"
		if n%refundsEvery == 0 {
			path = "/refunds"
		}
		select {
		case <-ctx.Done():
			close(orders)
			wg.Wait()
			return
		case <-tick.C:
		}
		select {
		case orders <- path:
		case <-ctx.Done():
		}
	}
}

func (l *load) shop(ctx context.Context, path string) {
	status, p, err := l.get(ctx, path)
	if ctx.Err() != nil {
		return // given up by us, not by the shop
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages++
	if err != nil || status != http.StatusOK {
		l.failed++
		if l.firstBad == "" {
			l.firstBad = http.StatusText(status)
			if err != nil {
				l.firstBad = err.Error()
			}
		}
		return
	}
	if v := p.Got[catalog].Body.Version; v != "" {
		l.versions[v]++
	}
}
