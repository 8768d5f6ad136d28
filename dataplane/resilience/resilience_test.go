package resilience

import "testing"

// plan is an Attempter whose attempts end as listed.
type plan struct {
	outcomes               []Outcome
	replayable, repeatable bool
	fresh                  []bool
}

func (p *plan) Try(n int, fresh bool) Outcome {
	p.fresh = append(p.fresh, fresh)
	return p.outcomes[n-1]
}
func (p *plan) Replayable() bool { return p.replayable }
func (p *plan) Repeatable() bool { return p.repeatable }

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		outcomes               []Outcome
		replayable, repeatable bool
		retries                int
		want                   Outcome
		attempts               int
	}{
		{"first", []Outcome{Answered}, true, true, 3, Answered, 1},
		{"second endpoint", []Outcome{ConnectFailed, Answered}, true, false, 3, Answered, 2},
		{"unprocessed", []Outcome{Unprocessed, Unprocessed, Answered}, true, false, 3, Answered, 3},
		{"retries used up", []Outcome{ConnectFailed, ConnectFailed, Answered}, true, true, 1, ConnectFailed, 2},
		{"no retries", []Outcome{ConnectFailed, Answered}, true, true, 0, ConnectFailed, 1},
		{"body gone", []Outcome{Unprocessed, Answered}, false, true, 3, Unprocessed, 1},
		{"nobody", []Outcome{NoEndpoint}, true, true, 3, NoEndpoint, 0},
		{"nobody else", []Outcome{Unprocessed, NoEndpoint}, true, true, 3, Unprocessed, 1},
		{"stale costs no retry", []Outcome{Stale, Answered}, true, true, 0, Answered, 2},
		{"stale twice", []Outcome{Stale, Stale, Answered}, true, true, 3, Stale, 2},
		{"stale, not repeatable", []Outcome{Stale, Answered}, true, false, 3, Stale, 1},
		{"failed", []Outcome{Failed, Answered}, true, true, 3, Failed, 1},
	} {
		got, n := Run(&plan{outcomes: tc.outcomes, replayable: tc.replayable, repeatable: tc.repeatable}, tc.retries)
		if got != tc.want || n != tc.attempts {
			t.Errorf("%s: %d after %d, want %d after %d", tc.name, got, n, tc.want, tc.attempts)
		}
	}
}

// Only the attempt right after a stale one asks for a new connection.
func TestFresh(t *testing.T) {
	p := &plan{outcomes: []Outcome{Stale, ConnectFailed, Answered}, replayable: true, repeatable: true}
	Run(p, 3)
	if len(p.fresh) != 3 || p.fresh[0] || !p.fresh[1] || p.fresh[2] {
		t.Error(p.fresh)
	}
}
