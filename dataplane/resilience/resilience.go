// Package resilience is the loop of attempts: what is tried again, and how often. It knows neither sockets nor HTTP: it
// drives an Attempter and judges Outcomes, so that it can be read, and tested, on one page.
//
// Only what provably did nothing is repeated. Start at Run.
package resilience

// Outcome is how one attempt ended.
type Outcome uint8

const (
	// Answered: a response is there, or whatever else ends the request without a failure of an endpoint.
	Answered Outcome = iota
	// NoEndpoint: nobody is left to try.
	NoEndpoint
	// ConnectFailed: no byte was sent, since no connection could be had.
	ConnectFailed
	// Unprocessed: the other proxy says that it has not handed the request on.
	Unprocessed
	// Stale: a connection that was kept from earlier ended before the first byte of a response. Most likely the server had
	// closed it before it saw the request, but it may have processed it.
	Stale
	// Failed: the endpoint failed after it may have processed the request, or time is up.
	Failed
)

// Attempter is one request, as the loop sees it.
type Attempter interface {
	// Try makes attempt n, counted from 1. fresh asks for a new connection, after a stale one.
	Try(n int, fresh bool) Outcome
	// Replayable tells whether the request can be sent once more exactly as it was: no byte of its body is gone.
	Replayable() bool
	// Repeatable tells whether doing it twice is the same as doing it once: an idempotent method without a body.
	Repeatable() bool
}

// Run tries until an attempt ends the request, and returns the outcome of the last one and how many were made. retries is
// how many further attempts failures may cost; a stale connection is the pool's fault and costs none, once.
//
// NoEndpoint is returned only if nothing was tried at all; later it only ends the loop.
func Run(a Attempter, retries int) (last Outcome, attempts int) {
	stale, fresh := false, false
	for {
		outcome := a.Try(attempts+1, fresh)
		fresh = false
		if outcome == NoEndpoint {
			if attempts == 0 {
				return NoEndpoint, 0
			}
			return last, attempts
		}
		attempts++
		last = outcome
		switch last {
		case ConnectFailed, Unprocessed:
			if retries == 0 || !a.Replayable() {
				return last, attempts
			}
			retries--
		case Stale:
			if stale || !a.Repeatable() || !a.Replayable() {
				return last, attempts
			}
			stale, fresh = true, true
		default:
			return last, attempts
		}
	}
}
